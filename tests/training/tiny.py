"""The run that these tests train, kill and resume; `python tiny.py DIRECTORY STORY` plays one in its own process."""

import contextlib
import faulthandler
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mezzotint.data.images import InMemory
from mezzotint.diffusion import Cosine, Denoiser, Objective, Trailing, Velocity
from mezzotint.diffusion.samplers import DDIM
from mezzotint.generation import Sampling
from mezzotint.networks import MLP
from mezzotint.training import (
    EMA,
    AdamW,
    Callback,
    Checkpoints,
    FiniteLoss,
    Hardware,
    Log,
    Preemption,
    Run,
    Validation,
    fit,
)

BATCH = 16


@dataclass(frozen=True)
class Noise:
    """100 random images of two classes; train and test are the same."""

    shape: tuple[int, int, int] = (1, 4, 4)
    classes: int = 2
    flip: bool = True

    def split(self, name: str) -> InMemory:
        source = torch.Generator().manual_seed(7)
        pixels = torch.randint(0, 256, (100, *self.shape), generator=source, dtype=torch.uint8)
        return InMemory(pixels, torch.arange(100) % 2)


class Killed(BaseException):
    """The end of a process, as far as what it leaves behind is concerned."""


class Kill(Callback):
    """Dies after a step, before or after the other callbacks have seen it."""

    def __init__(self, step: int, order: int = -50) -> None:
        self.at, self.order = step, order

    def step(self, run: Run) -> None:
        if run.step == self.at:
            raise Killed


def denoiser(dropout: float = 0.0) -> Denoiser:
    torch.manual_seed(3)
    network = MLP((1, 4, 4), classes=2, width=16)
    if dropout:
        network.hidden.append(torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.Dropout(dropout)))
    return Denoiser(network, Cosine(), Velocity())


def train(directory: Path, steps: int = 50, extra: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Checkpoints every 7 steps, lines of the log every 10: one is no multiple of the other."""
    callbacks = {
        "log": Log(10),
        "finite": FiniteLoss(10),
        "validation": Validation(every=20 * BATCH, images=60, bins=3),
        "preemption": Preemption(5),
        "checkpoints": Checkpoints(every=7 * BATCH, keep=3),
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
        "sampling": Sampling(DDIM(), Trailing(3)),
        "hardware": Hardware(accelerator="cpu", devices=changes.pop("devices", 1)),
    }
    return fit(directory, **(settings | changes))


def weights(directory: Path) -> dict[str, Any]:
    """The newest checkpoint."""
    file = max((directory / "checkpoints").glob("step-*.ckpt"))
    return torch.load(file, weights_only=True)


def two_ranks(directory: Path) -> None:
    """Never interrupted; then killed between a checkpoint and a line of the log, and resumed."""
    train(directory / "whole", devices=2)
    with contextlib.suppress(Killed):
        train(directory / "killed", devices=2, extra={"kill": Kill(26)})
    train(directory / "killed", devices=2)
    shards(directory)


def shards(directory: Path) -> None:
    """The network cut over two ranks; killed and resumed."""
    sharded = Hardware(accelerator="cpu", devices=2, strategy="fsdp")
    with contextlib.suppress(Killed):
        train(directory / "sharded", hardware=sharded, extra={"kill": Kill(26)})
    train(directory / "sharded", hardware=sharded)


class Slow(Callback):
    def step(self, run: Run) -> None:
        time.sleep(0.01)


def slowly(directory: Path) -> None:
    """Takes long enough to be killed many times."""
    train(directory, steps=2000, dropout=0.5, extra={"slow": Slow()})


if __name__ == "__main__":
    faulthandler.enable()
    torch.set_num_threads(1)
    {"two_ranks": two_ranks, "shards": shards, "slowly": slowly}[sys.argv[2]](Path(sys.argv[1]))
