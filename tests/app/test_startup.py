"""What a command leaves alone until something needs it: torch's compiler, most of torchmetrics, garbage collection."""

import gc
import subprocess
import sys
from pathlib import Path

from mezzotint.app import startup

TRAINED = """
import sys
from mezzotint.app.cli import main
from mezzotint.deferred import has_run
assert main(["train", "debug=tiny", "metrics=fid", f"paths.runs={sys.argv[1]}"]) == 0
heavy = ("torch._dynamo", "torch._inductor", "torch.distributed.tensor", "torchvision", "scipy", "matplotlib.pyplot")
print([name for name in heavy if has_run(name)])
"""

COMPILED = """
from mezzotint.app.startup import defer_packages
from mezzotint.deferred import has_run
defer_packages()
import torch, torchmetrics
from lightning.fabric.wrappers import OptimizedModule
assert torchmetrics.Metric.__module__ == "torchmetrics.metric" and torchmetrics.__version__
layer = torch.nn.Linear(2, 2)
optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
def step(x):
    layer(x).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
step(torch.ones(1, 2))
assert not isinstance(layer, OptimizedModule) and not has_run("torch._dynamo")
compiled = torch.compile(layer, backend="eager")
assert has_run("torch._dynamo") and isinstance(compiled, OptimizedModule) and not isinstance(layer, OptimizedModule)
torch.testing.assert_close(compiled(torch.ones(1, 2)), layer(torch.ones(1, 2)))
torch.compile(step, backend="eager")(torch.ones(1, 2))
assert torch._dynamo.graph_break.__module__.startswith("torch._dynamo")
assert not has_run("torchmetrics") and torchmetrics.MeanMetric().compute.__name__ and has_run("torchmetrics")
"""


def python(code: str, *words: str) -> str:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_training_runs_neither_torchs_compiler_nor_what_only_torchmetrics_imports(tmp_path: Path) -> None:
    assert python(TRAINED, str(tmp_path)).splitlines()[-1] == "[]"


def test_what_was_deferred_is_there_as_soon_as_something_is_compiled() -> None:
    python(COMPILED)


def test_metrics_of_torchmetrics_are_still_plotted() -> None:
    code = "from mezzotint.app.startup import defer_packages; defer_packages(); import torch; from torchmetrics import "
    code += "Metric; from torchmetrics.aggregation import MeanMetric; m = MeanMetric(); m.update(torch.ones(2)); "
    assert "Figure" in python(f"{code}import matplotlib; matplotlib.use('agg'); print(m.plot()[0])")


def test_collection_is_rare_until_training_and_usual_after_the_command() -> None:
    usual = gc.get_threshold()
    with startup.rare_collection():
        assert gc.get_threshold()[0] == startup.OBJECTS > usual[0]
        startup.usual_collection()
        assert gc.get_threshold() == usual
    assert gc.get_threshold() == usual
