"""The run that these tests train, kill and resume; `python tiny.py DIRECTORY STORY` plays one in its own process."""

import contextlib
import faulthandler
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from mezzotint.data.image_set import TensorImages
from mezzotint.diffusion import CosineSchedule, Denoiser, KeyedRandom, Objective, Trailing, Velocity
from mezzotint.diffusion.samplers import DDIM
from mezzotint.errors import TrainingError
from mezzotint.generation import SamplingRecipe
from mezzotint.metrics import Extractor, FrechetDistance, SplitHalfFrechet
from mezzotint.networks import MLP
from mezzotint.training import (
    EMA,
    AdamW,
    Callback,
    Checkpoints,
    EvaluationPlan,
    Hardware,
    Log,
    Muon,
    NaNGuard,
    Preemption,
    Preview,
    SampleMetrics,
    TrainingRun,
    Validation,
    fit,
)
from mezzotint.training.hardware.hardware import ProcessInfo

BATCH = 16


@dataclass(frozen=True)
class Noise:
    """100 random images of two classes; train and test are the same."""

    shape: tuple[int, int, int] = (1, 4, 4)
    classes: int = 2
    flip: bool = True

    def split(self, name: str) -> TensorImages:
        source = torch.Generator().manual_seed(7)
        pixels = torch.randint(0, 256, (100, *self.shape), generator=source, dtype=torch.uint8)
        return TensorImages(pixels, torch.arange(100) % 2)


class Pixels(Extractor):
    """Judges images by their 16 pixels."""

    name = "pixels"
    widths: ClassVar[dict[str, int]] = {"pooled": 16}
    preprocessing = "none"
    digest = "0"
    network = torch.nn.Identity()

    def validate(self, shape: tuple[int, int, int]) -> None:
        """Accept every shape."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"pooled": images.flatten(1).float() / 255}


def judging() -> EvaluationPlan:
    """Against the images that are trained on; what needs no samples is left out by the callback."""
    return EvaluationPlan(
        lambda: {"halves": SplitHalfFrechet(Pixels()), "frechet": FrechetDistance(Pixels())},
        lambda: Noise().split("train"),
    )


class Killed(BaseException):
    """The end of a process, as far as what it leaves behind is concerned."""


class Kill(Callback):
    """Dies after a step, before or after the other callbacks have seen it."""

    def __init__(self, step: int, order: int = -50) -> None:
        self.at, self.order = step, order

    def step(self, run: TrainingRun) -> None:
        if run.step == self.at:
            raise Killed


def denoiser(dropout: float = 0.0) -> Denoiser:
    torch.manual_seed(3)
    network = MLP((1, 4, 4), classes=2, width=16)
    if dropout:
        network.hidden.append(torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.Dropout(dropout)))
    return Denoiser(network, CosineSchedule(), Velocity())


MUON = Muon(warmup=5 * BATCH)


def train(directory: Path, steps: int = 50, extra: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Checkpoints every 7 steps, lines of the log every 10: one is no multiple of the other; no best one."""
    callbacks = {
        "log": Log(10),
        "finite": NaNGuard(10),
        "validation": Validation(every=20 * BATCH, images=60, bins=3),
        "sample_metrics": SampleMetrics(every=20 * BATCH, n=80),
        "preemption": Preemption(5),
        "checkpoints": Checkpoints(every=7 * BATCH, keep=3, best=None),
    }
    settings = {
        "denoiser": denoiser(changes.pop("dropout", 0.0)),
        "objective": Objective(label_dropout=0.2),
        "dataset": Noise(),
        "optimizer": AdamW(warmup=5 * BATCH),
        "budget": steps * BATCH,
        "batch_size": BATCH,
        "seed": 1,
        "ema": EMA([0.1, 0.5]),
        "callbacks": callbacks | (extra or {}),
        "sampling": SamplingRecipe(DDIM(), Trailing(3)),
        "judging": judging(),
        "hardware": Hardware(accelerator="cpu", devices=changes.pop("devices", 1)),
    }
    return fit(directory, **(settings | changes))


def weights(directory: Path) -> dict[str, Any]:
    """The newest checkpoint."""
    file = max((directory / "checkpoints").glob("step-*.ckpt"))
    return torch.load(file, weights_only=True)


def entries(node: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of a checkpoint, by its path; what the clock says is left out."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key != "seconds":
                yield from entries(value, f"{name}/{key}")
    elif isinstance(node, (list, tuple)):
        for i, value in enumerate(node):
            yield from entries(value, f"{name}/{i}")
    else:
        yield name, node


def lines(directory: Path) -> list[dict]:
    """The log without its clock."""
    read = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "time"} for line in read]


def two_ranks(directory: Path) -> None:
    """Never interrupted; then killed between a checkpoint and a line of the log, and resumed. The best one stays."""
    best = {"checkpoints": Checkpoints(every=7 * BATCH, keep=3)}
    train(directory / "whole", devices=2, extra=best | {"preview": Preview(every=50 * BATCH, images=5)})
    with contextlib.suppress(Killed):
        train(directory / "killed", devices=2, extra=best | {"kill": Kill(26)})
    train(directory / "killed", devices=2, extra=best)
    shards(directory)
    stories(directory)


def shards(directory: Path) -> None:
    """The network cut over two ranks, with two optimizers; killed and resumed."""
    sharded = Hardware(accelerator="cpu", devices=2, strategy="fsdp")
    for name, optimizer in {"sharded": AdamW(warmup=5 * BATCH), "sharded-muon": MUON}.items():
        with contextlib.suppress(Killed):
            train(directory / name, hardware=sharded, optimizer=optimizer, extra={"kill": Kill(26)})
        train(directory / name, hardware=sharded, optimizer=optimizer)


class Ask(Callback):
    """Asks one rank to stop."""

    def step(self, run: TrainingRun) -> None:
        if run.rank == 1 and run.step == 12:
            signal.raise_signal(signal.SIGUSR1)


class Broken(Objective):
    """A loss that is no number for one example."""

    def __init__(self, example: int) -> None:
        super().__init__()
        self.example = example

    def forward(self, denoiser: Denoiser, x0: Tensor, draws: KeyedRandom, **condition: Any) -> Tensor:
        losses = super().forward(denoiser, x0, draws, **condition)
        return torch.where(draws.index == self.example, torch.nan, losses)


def stories(directory: Path) -> None:
    """What each rank says when one is asked to stop, when one meets a NaN, and when they do not agree."""
    rank = int(os.environ["RANK"])
    told = {"asked": train(directory / "asked", devices=2, extra={"ask": Ask()})}
    changes = {"broken": {"objective": Broken(23 * BATCH + 5)}, "differs": {"config": {"lr": rank}}}
    for name, change in changes.items():
        try:
            train(directory / name, devices=2, **change)
        except TrainingError as error:
            told[name] = str(error)
    (directory / f"told-{rank}.json").write_text(json.dumps(told))


class Slow(Callback):
    def step(self, run: TrainingRun) -> None:
        time.sleep(0.01)


LENGTH = 700  # steps of a run that is killed many times


def story(directory: Path) -> None:
    train(directory, steps=LENGTH, dropout=0.5, devices=ProcessInfo.here().world)


def slowly(directory: Path) -> None:
    """The same on a slow machine with a slow disk: long enough to be killed many times, while it writes too."""
    real = os.fsync

    def fsync(descriptor: int) -> None:
        time.sleep(0.02)
        real(descriptor)

    os.fsync = fsync
    train(directory, steps=LENGTH, dropout=0.5, devices=ProcessInfo.here().world, extra={"slow": Slow()})


STORIES = {"two_ranks": two_ranks, "shards": shards, "stories": stories, "story": story, "slowly": slowly}

if __name__ == "__main__":
    faulthandler.enable()
    torch.set_num_threads(1)
    STORIES[sys.argv[2]](Path(sys.argv[1]))
