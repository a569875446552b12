"""What a training step costs beside its network: our whole stack over a bare loop, in microseconds a step.

    python benchmarks/overhead.py [--rounds 7] [--steps 400] [--busy]

Four ways to train one small perceptron on 64 images of 8 x 8, by turns in one process:

    bare         noise, forward, squared error, backward, fused AdamW: what any loop must do
    lightning    the same step under Lightning's Trainer with everything off that can be
    step         the parts a run is made of, without Lightning: named random numbers, objective, clipping, EMA
    fit          a run as `mezzotint train` makes it: Lightning's Trainer, data module, EMA, log, progress, finite loss

The figures are medians over the rounds. How fast the processor is cancels out of the ratio of fit to lightning.
`--busy` measures one thread in CPU seconds, for a machine with other jobs.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as pl
import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional
from train import Case, clock, our_step

from mezzotint.data.image_set import TensorImages
from mezzotint.diffusion import Denoiser, LinearSchedule, Objective
from mezzotint.networks import MLP
from mezzotint.training import EMA, AdamW, Callback, Hardware, Log, NaNGuard, Progress, TrainingRun, fit
from mezzotint.training.trainer import quiet


@dataclass(frozen=True)
class Small(Case):
    """Of a network so small that the rest shows."""

    def ours(self) -> MLP:
        return MLP(self.shape, width=64, layers=1)


@dataclass(frozen=True)
class Noise:
    """A dataset of random images."""

    shape: tuple[int, int, int]
    classes: int = 0
    flip: bool = False

    def split(self, name: str) -> TensorImages:
        return TensorImages(torch.randint(0, 256, (1024, *self.shape), dtype=torch.uint8))


CASE = Small((1, 8, 8), width=64, multipliers=(1,), blocks=1, attention=8, batch=64, steps=400)
WARMUP = 50  # steps of a run that are not counted


class Stopwatch(Callback):
    """Notes when the warm-up and when the last step are over."""

    order = 1000

    def __init__(self, now: Callable[[], float]) -> None:
        self.now, self.seconds = now, 0.0

    def step(self, run: TrainingRun) -> None:
        if run.step == WARMUP:
            self.begun = self.now()
        if run.finished:
            self.seconds = self.now() - self.begun


class Bare(pl.LightningModule):
    """DDPM's loss as one would write it."""

    def __init__(self) -> None:
        super().__init__()
        self.network, self.signal = CASE.ours(), torch.linspace(1, 0, 1000)

    def training_step(self, images: torch.Tensor, number: int = 0) -> torch.Tensor:
        times, noise = torch.randint(0, 1000, (CASE.batch,)), torch.randn_like(images)
        alpha = self.signal[times][:, None, None, None]
        noisy = alpha.sqrt() * images + (1 - alpha).sqrt() * noise
        return functional.mse_loss(self.network(noisy, times), noise)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.network.parameters(), fused=True)


def some_images() -> torch.Tensor:
    return torch.rand(CASE.batch, *CASE.shape) * 2 - 1


def bare_step() -> Callable[[], None]:
    module, images = Bare(), some_images()
    optimizer = module.configure_optimizers()

    def step() -> None:
        module.training_step(images).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


@dataclass
class Endless:
    """A loader that hands out one batch for ever."""

    batch: torch.Tensor

    def __iter__(self) -> Iterator[torch.Tensor]:
        while True:
            yield self.batch


class Watch(pl.Callback):
    """The stopwatch, as Lightning calls it."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.global_step == WARMUP:
            self.begun = self.now()
        self.ended = self.now()


def lightning_seconds(steps: int, busy: bool) -> float:
    """Seconds of the bare steps under a Trainer that does nothing else."""
    watch = Watch(time.process_time if busy else time.perf_counter)
    off = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    with quiet():
        trainer = pl.Trainer(max_steps=WARMUP + steps, accelerator="cpu", callbacks=[watch], limit_val_batches=0, **off)
        trainer.fit(Bare(), Endless(some_images()))
    return watch.ended - watch.begun


def run_seconds(steps: int, busy: bool) -> float:
    """Seconds of the steps of a run after its warm-up."""
    watch = Stopwatch(time.process_time if busy else time.perf_counter)
    with tempfile.TemporaryDirectory() as directory:
        fit(
            Path(directory),
            denoiser=Denoiser(CASE.ours(), LinearSchedule()),
            objective=Objective(),
            dataset=Noise(CASE.shape),
            optimizer=AdamW(),
            budget=(WARMUP + steps) * CASE.batch,
            batch_size=CASE.batch,
            ema=EMA(),
            callbacks={"log": Log(), "progress": Progress(), "finite": NaNGuard(), "stopwatch": watch},
            hardware=Hardware(accelerator="cpu"),
        )
    return watch.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--busy", action="store_true", help="one thread, CPU seconds: for a machine with other jobs")
    options = parser.parse_args()
    if options.busy:
        torch.set_num_threads(1)
    bare, (_, step) = bare_step(), our_step(CASE, "32", "cpu")
    turns: dict[str, list[float]] = {"bare": [], "lightning": [], "step": [], "fit": []}
    for turn in range(options.rounds + 1):
        spent = {
            "bare": clock(bare, options.steps, "cpu", options.busy),
            "lightning": lightning_seconds(options.steps, options.busy),
            "step": clock(step, options.steps, "cpu", options.busy),
            "fit": run_seconds(options.steps, options.busy),
        }
        for name, seconds in spent.items():
            if turn:  # the first warms up
                turns[name].append(1e6 * seconds / options.steps)
    table = Table("way", "microseconds a step", "over the bare loop")
    for name, values in turns.items():
        over = statistics.median(value - base for value, base in zip(values, turns["bare"], strict=True))
        table.add_row(name, f"{statistics.median(values):.0f}", f"{over:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
