"""CONTRIBUTING.md is true: each example is written to an empty folder as it stands there, and its command is run."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import torch
import yaml

from mezzotint.app import cli
from mezzotint.diffusion import DDIM, DDPM, CosineSchedule, KeyedRandom, Trailing, WhiteNoise, exact_gaussian, sample
from mezzotint.instantiate.build import build, check
from mezzotint.metrics import DigitsClassifier

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
FILES = re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = [
    line.split()[1:] for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()
]
PACKAGES = {  # group -> the package that its classes move to
    group: package
    for package, groups in re.findall(r"^\| [^|]+ \| [^|]+ \| `(\S+)` \| ([^|]+) \|$", TEXT, re.MULTILINE)
    for group in re.findall(r"`(\w+)`", groups)
}
KEPT = ("src", "tests", "configs", "docs", "scripts", "pyproject.toml", "README.md", "CONTRIBUTING.md", "Makefile")
SELECTED = {  # what looks at every member of a kind
    "schedule": ("tests/diffusion/schedules", "tests/diffusion/test_denoiser.py", "-k", "power"),
    "sampler": ("tests/diffusion/samplers", "-k", "partly_stochastic or exported or row_for_every"),
    "network": ("tests/networks/test_configs.py",),
    "data": ("tests/data/test_configs.py",),
    "anything": ("tests/test_configs.py", "tests/instantiate", "-k", "says_what_it_is or choice or Power or Stripes"),
}
SMALLER = ("hardware=cpu", "callbacks=minimal", "name=mine")


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """An empty folder with all that CONTRIBUTING.md tells to write."""
    for name, text in FILES:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        del sys.modules[name]


def node(mine: Path, name: str) -> dict:
    return yaml.safe_load((mine / "mine" / f"{name}.yaml").read_text())


def test_it_is_short_and_shows_five_parts():
    assert len(TEXT.splitlines()) < 250
    assert len(COMMANDS) == 5
    assert [name.split("/")[1] for name, _ in FILES if name.endswith(".yaml")] == [
        "schedule",
        "sampler",
        "network",
        "data",
        "metrics",
    ]
    for name, text in FILES:
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        assert name.endswith(".py") or len(lines) <= 5, f"{name} is more than five lines"


@pytest.mark.filterwarnings("ignore:The `srun` command")  # Lightning, on a machine that has SLURM
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_runs_as_written(words, mine, capsys):
    assert words[0] == "train"
    code = cli.main([*words, *SMALLER])
    assert code == 0, capsys.readouterr().err
    config = yaml.safe_load((mine / "runs/mine/config.yaml").read_text())
    assert "mine." in json.dumps(config), "the part that was added has no part in the run"
    assert json.loads((mine / "runs/mine/status.json").read_text())["state"] == "finished"
    if "means" in " ".join(words):
        (file,) = (mine / "runs/mine/evaluation").glob("*.json")
        assert "means_digits_16" in json.loads(file.read_text())["values"]


def test_the_schedule_keeps_the_laws(mine):
    schedule = build(node(mine, "schedule/power"))
    assert (schedule.level(0.0).alpha, schedule.level(0.0).sigma) == (1.0, 0.0)
    assert (schedule.level(1.0).alpha, schedule.level(1.0).sigma) == (0.0, 1.0)
    t = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    torch.testing.assert_close(schedule.time(schedule.level(t)), t)
    assert (schedule.rate(t) < 0).all()


def test_the_sampler_is_ddpm_inside_and_ddim_outside_of_its_levels(mine):
    sampler = build(node(mine, "sampler/partly_stochastic"))
    draws = KeyedRandom(0, torch.arange(100))
    gaussian = exact_gaussian(CosineSchedule(), torch.tensor([0.5], dtype=torch.float64), 1.0)
    eps = draws.normal("start", (1,)).double()

    def drawn(sampler):
        return sample(gaussian, sampler, Trailing(20), eps, WhiteNoise(draws))

    torch.testing.assert_close(drawn(replace(sampler, low=0.0, high=1e9)), drawn(DDPM()))
    torch.testing.assert_close(drawn(replace(sampler, low=2e9, high=3e9)), drawn(DDIM()))
    assert not torch.allclose(drawn(sampler), drawn(DDIM()))


def test_the_network_takes_any_size_and_hears_time_and_label(mine):
    network = import_module("mine.convolutions").Convolutions((3, 6, 10), classes=4, width=8)
    x, time = torch.randn(2, 3, 6, 10), torch.tensor([1.0, 1.0])
    out = network(x, time, torch.tensor([0, 1]))
    assert out.shape == x.shape
    assert not torch.allclose(out, network(x, time + 500, torch.tensor([0, 1])))
    assert not torch.allclose(out, network(x, time, torch.tensor([2, 3])))
    torch.testing.assert_close(network(x, time), network(x, time, torch.tensor([-1, -1])))


def test_the_dataset_holds_what_it_says(mine):
    stripes = build(node(mine, "data/stripes")).split("train")
    images, labels = stripes.batch(torch.arange(len(stripes)))
    flat = images[:, 0].float()
    assert torch.equal((flat.std(1).sum(1) < flat.std(2).sum(1)).long(), labels)  # standing: columns are constant
    assert check(node(mine, "data/stripes") | {"cuont": 3}, "data"), "a wrong argument must be found"


def test_the_metric_is_the_distance_of_the_means(mine):
    metric = import_module("mine.means").Means(DigitsClassifier())
    real, drawn = torch.randn(40, metric.width), torch.randn(30, metric.width)
    metric.update_features(real, real=True)
    metric.update_features(drawn, real=False)
    wanted = (real.double().mean(0) - drawn.double().mean(0)).square().sum().sqrt()
    torch.testing.assert_close(metric.compute(), wanted)


# --------------------------------------------------------------------------------------------------- inside of the tree


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of this checkout into which all examples have been moved as CONTRIBUTING.md says."""
    copy = tmp_path_factory.mktemp("tree")
    for name in KEPT:
        source, ignore = ROOT / name, shutil.ignore_patterns("__pycache__", "*.part")
        shutil.copytree(source, copy / name, ignore=ignore) if source.is_dir() else shutil.copy(source, copy / name)
    modules = {name.split("/")[1].removesuffix(".py"): text for name, text in FILES if name.endswith(".py")}
    for name, text in FILES:
        if name.endswith(".yaml"):
            group, choice = Path(name).parts[1:]
            module, kind = re.search(r"_target_: mine\.(\w+)\.(\w+)", text).groups()
            package = PACKAGES[group]
            (copy / "src/mezzotint" / package / f"{module}.py").write_text(modules[module])
            path = f"mezzotint.{package.partition('/')[0]}.{kind}"
            (copy / "configs" / group / choice).write_text(text.replace(f"mine.{module}.{kind}", path))
            export(copy / "src/mezzotint", package, module, kind)
    run(copy, "-m", "ruff", "check", "--select", "I", "--fix", "--no-cache", ".")  # make format
    run(copy, "-m", "ruff", "format", "--no-cache", ".")
    run(copy, "scripts/sampler_table.py", "partly_stochastic")
    return copy


def export(source: Path, package: str, module: str, kind: str) -> None:
    """Write the one line that makes a class public."""
    file = source / package / "__init__.py"
    if package.startswith("data/"):
        file, module = source / "data/__init__.py", f"{package.partition('/')[2]}.{module}"
    text = file.read_text()
    anchor = "    {\n" if "lazy(\n" in text else "\n__all__ ="
    line = f'        "{module}": "{kind}",\n' if "lazy(\n" in text else f"from .{module} import {kind}\n"
    at = text.index(anchor) + (len(anchor) if "lazy(\n" in text else 0)
    file.write_text(text[:at] + line + text[at:])


def run(copy: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(copy / "src")}
    done = subprocess.run([sys.executable, *words], cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


def test_moved_examples_pass_the_checks_of_style_and_layers(tree):
    run(tree, "-m", "ruff", "check", "--no-cache", ".")
    run(tree, "-m", "ruff", "format", "--check", "--no-cache", ".")
    layers = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    run(tree, "-c", layers)


def test_a_moved_sampler_gets_its_row_and_no_other_changes(tree):
    before = (ROOT / "docs/samplers.md").read_text().splitlines()
    after = (tree / "docs/samplers.md").read_text().splitlines()
    assert [line for line in after if not line.startswith("| partly_stochastic |")] == before
    assert len(after) == len(before) + 1


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", SELECTED)
def test_moved_examples_pass_the_tests_of_their_kind(kind, tree):
    said = run(tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SELECTED[kind])
    assert said
