"""Weights that a network constrains after each step: EDM2's unit norm in training, averages and resumed runs."""

from pathlib import Path

import pytest
import torch
from tiny import Kill, Killed, Noise, entries, train, weights

from mezzotint.diffusion import (
    Denoiser,
    EDMSchedule,
    LogNormalTimes,
    LogSigma,
    Objective,
    Preconditioned,
    UncertaintyWeight,
    UnitVarianceScale,
)
from mezzotint.networks import EDM2UNet
from mezzotint.networks.layers import Constrained
from mezzotint.training import EMA, AdamW, Log


def parts(uncertainty: bool = True) -> dict:
    torch.manual_seed(0)
    network = EDM2UNet(
        (1, 4, 4), classes=2, width=8, multipliers=(1, 2), blocks=1, attention=(2,), head_width=8, dropout=0.1
    )
    denoiser = Denoiser(network, EDMSchedule(), Preconditioned(), LogSigma(), UnitVarianceScale())
    weight = UncertaintyWeight(features=8) if uncertainty else None
    objective = Objective(LogNormalTimes(), weight, label_dropout=0.1)
    return {"denoiser": denoiser, "objective": objective, "dataset": Noise(), "optimizer": AdamW(1e-2), "ema": EMA(0.1)}


def norms(state: dict[str, torch.Tensor]) -> torch.Tensor:
    """The root mean square of each row of each weight."""
    rows = [w.flatten(1).square().mean(1).sqrt() for name, w in state.items() if name.endswith(".weight")]
    return torch.cat([row for row in rows if len(row) > 1])


def test_the_weights_have_unit_norm_after_each_step_and_move(tmp_path: Path) -> None:
    train(tmp_path, steps=12, **parts())
    kept = weights(tmp_path)
    state = {name: value for name, value in kept["state_dict"].items() if name.startswith("denoiser.")}
    torch.testing.assert_close(norms(state), torch.ones_like(norms(state)), rtol=0, atol=3e-4)
    (average,) = kept["ema"].values()
    assert 0.5 < float(norms(average).min()) <= float(norms(average).max()) < 1.001  # an average of unit vectors
    start = {f"denoiser.{name}": value for name, value in parts()["denoiser"].state_dict().items()}
    moved = [name for name in state if name.endswith("weight") and not torch.equal(state[name], start[name])]
    assert len(moved) == sum(isinstance(part, Constrained) for part in parts()["denoiser"].modules()) > 20
    uncertainty = kept["state_dict"]["objective.weight.linear.weight"]
    assert uncertainty.abs().max() > 0


def test_killed_and_resumed_is_never_interrupted(tmp_path: Path) -> None:
    train(tmp_path / "a", steps=20, **parts())
    with pytest.raises(Killed):
        train(tmp_path / "b", steps=20, extra={"kill": Kill(10)}, **parts())
    train(tmp_path / "b", steps=20, **parts())
    one, two = (dict(entries(weights(tmp_path / name))) for name in "ab")
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.equal(value, two[name]) if isinstance(value, torch.Tensor) else value == two[name], name


def test_every_weight_is_learned_within_a_few_steps(tmp_path: Path) -> None:
    """The loss is the normalised one, so that only its parts that are learned can decrease it below its start."""
    train(tmp_path, steps=30, extra={"log": Log(10)}, **parts())
    final = weights(tmp_path)["state_dict"]
    gains = [value for name, value in final.items() if name.endswith("gain")]
    assert len(gains) > 5
    assert all(gain.shape == (1,) and gain.abs() > 0 for gain in gains)
