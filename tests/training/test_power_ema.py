"""Power-function averages while a run trains: their values, their snapshots, and resuming."""

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file

from mezzotint.instantiate.nodes import node_of
from mezzotint.runs import RunDir, snapshots
from mezzotint.runs.load import read_weights
from mezzotint.runs.power_average import decay
from mezzotint.training import Callback, Checkpoints, PowerEMA, TrainingRun

STEPS = 32


class Tracker(Callback):
    """The average of a length, followed in float64."""

    def __init__(self, std: float) -> None:
        self.std, self.average = std, torch.zeros(())

    def step(self, run: TrainingRun) -> None:
        live = torch.cat([p.detach().flatten() for p in run.module.denoiser.parameters()]).double()
        beta = decay(self.std, run.images, run.batch_size)
        self.average = live.clone() if run.step == 1 else self.average.lerp_(live, 1 - beta)


def trained(directory: Path, **callbacks: Any) -> None:
    saving = {"checkpoints": Checkpoints(every=7 * tiny.BATCH)}
    ema = PowerEMA([0.05, 0.25], every=2 * tiny.BATCH)
    tiny.train(directory, steps=STEPS, ema=ema, callbacks=saving | callbacks)


def test_any_length_follows_from_snapshots(tmp_path: Path) -> None:
    trackers = {f"{std:g}": Tracker(std) for std in (0.05, 0.1, 0.25)}
    trained(tmp_path / "a", **trackers)
    run = RunDir(tmp_path / "a")
    names = [name for name, _ in tiny.denoiser().named_parameters()]
    assert len(snapshots.every(run.snapshots)) == STEPS // 2
    for name, tracker in trackers.items():
        for weights, most in ((f"std{name}", 1e-3), *([(float(name), 1e-6)] if name != "0.1" else [])):
            state = read_weights(run, weights)
            found = torch.cat([state[name].flatten() for name in names]).double()
            assert float((found - tracker.average).norm() / tracker.average.norm()) < most, weights
    assert float(read_weights(run, "ema")[names[0]].sub(read_weights(run, 0.05)[names[0]]).abs().max()) == 0


def test_a_killed_run_goes_on_to_the_same_averages(tmp_path: Path) -> None:
    trained(tmp_path / "whole")
    with pytest.raises(tiny.Killed):
        trained(tmp_path / "killed", kill=tiny.Kill(20))
    folder = RunDir(tmp_path / "killed").snapshots
    snapshots.named(folder, 19).write_bytes(b"of a later step than the checkpoint")
    trained(tmp_path / "killed")
    whole, killed = (tiny.weights(tmp_path / name)["ema"] for name in ("whole", "killed"))
    assert all(torch.equal(whole[std][name], killed[std][name]) for std in whole for name in whole[std])
    files = snapshots.every(RunDir(tmp_path / "whole").snapshots)
    again = snapshots.every(folder)
    assert files.keys() == again.keys()
    for step, file in files.items():
        kept, expected = load_file(again[step]), load_file(file)
        assert kept.keys() == expected.keys()
        assert all(torch.equal(kept[name], expected[name]) for name in expected), step


def test_settings() -> None:
    assert node_of(PowerEMA([0.05, 0.1], every=0.5)) == {
        "_target_": "mezzotint.training.PowerEMA",
        "std": [0.05, 0.1],
        "every": 0.5,
    }
    for wrong in ({"std": 0.5}, {"std": [0.1, 0.1]}, {"every": 0.0}, {"std": []}):
        with pytest.raises(ValueError, match="std="):
            PowerEMA(**wrong)
