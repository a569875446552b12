"""`train init=`: a new run from the weights of another one, of a checkpoint or of a file."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from mezzotint.app.assembly.parts import assemble
from mezzotint.app.config.job import Job, digest
from mezzotint.data.datamodule import DataModule
from mezzotint.diffusion import KeyedRandom
from mezzotint.runs import RunDir
from mezzotint.runs.load import load, read_weights
from mezzotint.training import DiffusionModule

Command = Callable[..., Any]
TINY = ("debug=tiny", "hardware=cpu", "callbacks=minimal", "metrics=[]", "grid.steps=1", "n=1")
ONE = ("budget=16", "callbacks.log.every=1")  # a single step


def first_line(run: Path) -> dict[str, Any]:
    return json.loads((run / "metrics.jsonl").read_text().splitlines()[0])


def loss_of(run: Path, source: Path, weights: str) -> float:
    """The loss of the source's weights on the first batch of a run."""
    parts = assemble(Job.of_dict(RunDir(run).config()))
    parts.denoiser.load_state_dict(load(source, weights).state_dict())
    data = DataModule(parts.dataset, 16, 0, 0, 0, 1, None, 0)
    data.setup()
    batch = next(iter(data.train_dataloader()))
    module = DiffusionModule(parts.denoiser, parts.objective, parts.optimizer, seed=0, budget=16, batch_size=16)
    return float(module.example_losses(parts.denoiser, batch, KeyedRandom(0, batch["index"])).mean().detach())


@pytest.mark.parametrize("weights", ["ema", "raw"])
def test_the_first_loss_is_that_of_the_source(mezzotint: Command, trained: Path, weights: str) -> None:
    done = mezzotint("train", *TINY, *ONE, "name=b", "init=runs/a", f"init_weights={weights}")
    assert done.code == 0, done.err
    assert "init: " in done.out
    assert "not taken" not in done.out
    assert "unused" not in done.out
    run = trained.parent / "b"
    assert first_line(run)["loss"] == loss_of(run, trained, weights)


def test_the_average_starts_at_the_weights(mezzotint: Command, trained: Path) -> None:
    done = mezzotint("train", *TINY, *ONE, "name=b", "init=runs/a", "optimizer.lr=1e-20", "optimizer.warmup=0")
    assert done.code == 0, done.err
    before = read_weights(RunDir(trained), "ema")
    for weights in ("raw", "ema"):
        after = read_weights(RunDir(trained.parent / "b"), weights)
        assert before.keys() == after.keys()
        for name, tensor in before.items():
            torch.testing.assert_close(after[name], tensor, rtol=0, atol=1e-15)


def test_other_classes_and_data_are_told(mezzotint: Command, trained: Path) -> None:
    words = ("name=b", "init=runs/latest", "target=epsilon", "schedule=linear", "data.classes=0", "data=digits")
    done = mezzotint("train", *TINY, *ONE, *words)
    assert done.code == 0, done.err
    (line,) = [line for line in done.out.splitlines() if line.startswith("init: ")]
    assert "unused, unknown here: " in line
    saved = yaml.safe_load((trained.parent / "b/config.yaml").read_text())
    assert saved["init"] == str(trained.absolute())  # the link is resolved
    done = mezzotint("train", *TINY, *ONE, "name=c", "init=runs/a", "network.width=16")
    assert done.code == 2 or "of another shape: " in done.out


def test_a_run_that_goes_on_needs_no_source(mezzotint: Command, trained: Path) -> None:
    assert mezzotint("train", *TINY, "name=whole", "init=runs/a").code == 0
    assert mezzotint("train", *TINY, "name=half", "init=runs/a", "budget=32", "optimizer.decay=constant").code == 0
    assert mezzotint("train", *TINY, "name=full", "init=runs/a", "optimizer.decay=constant").code == 0
    shutil.rmtree(trained)
    done = mezzotint("train", "run=runs/half", "budget=64")
    assert done.code == 0, done.err
    assert "init: " not in done.out
    half, full = (read_weights(RunDir(trained.parent / name), "raw") for name in ("half", "full"))
    assert all(torch.equal(half[name], full[name]) for name in full)
    refused = mezzotint("train", "run=runs/half", "init=runs/full")
    assert refused.code == 2
    assert "init cannot change" in refused.err
    assert mezzotint("sample", "run=runs/whole", "n=1").code == 0


@pytest.mark.parametrize("prefix", ["denoiser.network.", ""])
def test_a_safetensors_file_names_a_network(mezzotint: Command, trained: Path, prefix: str) -> None:
    state = {f"{prefix}{name}": t.contiguous() for name, t in load(trained).network.state_dict().items()}
    save_file(state, "w.safetensors")
    done = mezzotint("train", *TINY, *ONE, "name=b", "init=w.safetensors")
    assert done.code == 0, done.err
    assert f"init: {len(state)} of {len(state)} tensors from {Path.cwd()}/w.safetensors" in done.out
    assert first_line(trained.parent / "b")["loss"] == loss_of(trained.parent / "b", trained, "ema")


def test_checkpoints_and_plain_files_are_read(mezzotint: Command, trained: Path) -> None:
    file = max((trained / "checkpoints").iterdir())
    assert mezzotint("train", *TINY, *ONE, "name=b", f"init={file}").code == 0
    torch.save(load(trained).network.state_dict(), "w.pt")
    assert mezzotint("train", *TINY, *ONE, "name=c", "init=w.pt").code == 0
    assert first_line(trained.parent / "b")["loss"] == first_line(trained.parent / "c")["loss"]


class Evil:
    def __reduce__(self) -> Any:
        return (Path("owned").touch, ())


@pytest.mark.parametrize(
    ("init", "said"),
    [
        ("nowhere", "there is no such file or run"),
        ("empty", "this folder is not a run"),
        ("text.safetensors", "it is not a safetensors file"),
        ("evil.pt", "code in a file is never run"),
        ("list.pt", "something other than tensors"),
        ("other.safetensors", "no tensor fits this network"),
        ("runs/a init_weights=0.3", "weights=0.3"),
    ],
)
def test_what_cannot_be_a_source_is_one_line_before_training(
    mezzotint: Command, trained: Path, init: str, said: str
) -> None:
    Path("empty").mkdir()
    Path("text.safetensors").write_text("nothing")
    torch.save({"weights": Evil()}, "evil.pt")
    torch.save([1, 2], "list.pt")
    save_file({"other": torch.zeros(3)}, "other.safetensors")
    for command in ("train", "check")[: 2 if init == "nowhere" else 1]:
        done = mezzotint(command, *TINY, "name=b", *f"init={init}".split())
        assert done.code == 2
        assert said in done.err
        assert len(done.err.strip().splitlines()) == 1
    assert not Path("owned").exists()
    assert not (trained.parent / "b/checkpoints").exists()


def test_the_source_is_part_of_what_a_run_is(trained: Path) -> None:
    config = RunDir(trained).config()
    without = {key: value for key, value in config.items() if not key.startswith("init")}
    assert digest(config) == digest(without)
    assert digest(config | {"init": "x"}) != digest(config)
