"""Optimizers and learning-rate schedules by name on the command line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mezzotint.runs import RunDir
from mezzotint.runs.load import read_weights

Command = Callable[..., Any]
TINY = ("debug=tiny", "hardware=cpu", "callbacks=minimal", "metrics=[]", "grid.steps=1", "n=1", "budget=32")


def saved(run: str) -> dict[str, Any]:
    return yaml.safe_load((Path("runs") / run / "config.yaml").read_text())


def test_optimizers_and_schedules_combine(mezzotint: Command, home: Path) -> None:
    words = ("optimizer=muon", "lr_schedule=wsd", "lr_schedule.cooldown=0.5", "optimizer.thin=8")
    done = mezzotint("train", *TINY, "name=a", *words)
    assert done.code == 0, done.err
    assert saved("a")["lr_schedule"] == {
        "_target_": "mezzotint.training.WarmupStableDecayLR",
        "cooldown": 0.5,
        "shape": "sqrt",
    }
    done = mezzotint("train", "run=runs/a", "budget=64")
    assert done.code == 0, done.err
    rules = "optimizer.groups=[{_target_:mezzotint.training.ParameterRule,kind:bias,lr:2.0}]"
    done = mezzotint(
        "train", *TINY, "name=b", "optimizer=torch", "optimizer.kind._target_=torch.optim.Adafactor", rules
    )
    assert done.code == 0, done.err
    assert mezzotint("sample", "run=runs/b", "n=1").code == 0


def test_a_class_of_torch_in_place_of_ours_is_written_out(mezzotint: Command, home: Path) -> None:
    done = mezzotint("train", *TINY, "name=a", "optimizer._target_=torch.optim.NAdam", "optimizer.lr=1e-3")
    assert done.code == 0, done.err
    node = saved("a")["optimizer"]
    assert node["_target_"] == "mezzotint.training.TorchOptimizer"
    assert node["kind"] == {
        "_target_": "torch.optim.NAdam",
        "betas": [0.9, 0.99],
        "weight_decay": 0.0,
        "_partial_": True,
    }
    assert mezzotint("train", "run=runs/a", "budget=64").code == 0


@pytest.mark.parametrize("kind", ["SOAP", "Shampoo"])
def test_an_optimizer_of_another_library_trains_and_goes_on(kind: str, mezzotint: Command, home: Path) -> None:
    """As docs/training.md says; the same weights as in one piece, but for a rate that must not depend on the budget."""
    pytest.importorskip("pytorch_optimizer")
    words = (*TINY, "optimizer=torch", f"optimizer.kind._target_=pytorch_optimizer.{kind}", "lr_schedule=constant")
    words += ("optimizer.warmup=0", "ema.halflife=16")
    for name, budget in (("whole", 64), ("half", 32)):
        done = mezzotint("train", *words, f"name={name}", f"budget={budget}")
        assert done.code == 0, done.err
    refused = mezzotint("train", "run=runs/half", "budget=64")
    assert refused.code == 2
    assert "trust=[pytorch_optimizer]" in refused.err
    done = mezzotint("train", "run=runs/half", "budget=64", "trust=[pytorch_optimizer]")
    assert done.code == 0, done.err
    whole, half = (read_weights(RunDir(Path("runs") / name), "raw") for name in ("whole", "half"))
    assert all(torch.equal(whole[name], half[name]) for name in whole)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("optimizer=torch optimizer.kind._target_=torch.optim.LBFGS", "evaluates the loss several times a step"),
        ("optimizer=torch optimizer.kind._target_=torch.optim.SparseAdam", "needs sparse gradients"),
        ("optimizer=torch optimizer.kind._target_=torch.optim.Muon", "Muon only supports 2D parameters"),
        ("optimizer=sgd optimizer.kind.momentun=0.5", "did you mean 'momentum'"),
        ("optimizer=sgd optimizer.kind.momentum=-1", "Invalid momentum value"),
        ("lr_schedule=wsd lr_schedule.cooldown=0", "cooldown=0"),
    ],
)
def test_what_cannot_train_is_one_line(mezzotint: Command, home: Path, words: str, said: str) -> None:
    done = mezzotint("train", *TINY, "name=a", *words.split())
    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not Path("runs/a/config.yaml").exists()
