"""Stops a run whose loss is no number, before the damage is saved."""

from typing import Any

import torch
from torch import Tensor

from mezzotint.diffusion import KeyedRandom
from mezzotint.errors import TrainingError
from mezzotint.training.amounts import check_steps
from mezzotint.training.callbacks.base import Callback
from mezzotint.training.hardware.sharding import full_tensor
from mezzotint.training.training_run import TrainingRun


class NaNGuard(Callback):
    """Stops with the step and the noise level of a loss that is NaN or infinite; the last good checkpoint stays.

    Looks once every few steps, at what the steps left on the device, and always before the averaged weights are looked
    at or a checkpoint is written, where the weights must be finite too: so a bad step costs at most `every` steps and
    never a checkpoint, and nobody draws from weights that are no numbers.

    Args:
        every: optimiser steps between two looks; of several, below 1 the share of the run's, the least counts.
    """

    order = 10

    def __init__(self, every: int | tuple[float, ...] = 50) -> None:
        check_steps(every)
        self.every, self.noted = every, 0
        self.window: list[tuple[int, list[Tensor], list[Tensor]]] = []

    def start(self, run: TrainingRun) -> None:
        self.window, self.noted, average = [], run.step, run.average

        def checked() -> Any:
            self.guard(run)
            return average()

        run.average = checked

    def step(self, run: TrainingRun) -> None:
        self.note(run)
        if run.step % run.between(self.every) == 0:
            self.inspect(run)

    def finish(self, run: TrainingRun) -> None:
        self.inspect(run)

    def check(self, run: TrainingRun) -> None:
        self.guard(run)

    def guard(self, run: TrainingRun) -> None:
        """Raise on every rank if a loss, or now a weight, is not finite."""
        self.note(run)
        self.inspect(run)
        weights = [p.detach() for p in run.module.parameters()]
        if not full_tensor(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(weights)))).isfinite():
            raise TrainingError(f"The weights are not finite after step {run.step}. {ADVICE}")

    def note(self, run: TrainingRun) -> None:
        """Keep the losses of the step just done; who looks at the weights may come before `step`."""
        if run.step > self.noted:
            self.noted = run.step
            self.window.append((run.step, run.module.losses, run.module.index))

    def inspect(self, run: TrainingRun) -> None:
        """Raise on every rank if any rank has seen a loss that is not finite."""
        window, self.window = self.window, []
        if not window:
            return
        table = torch.stack([torch.cat(losses) for _, losses, _ in window])
        bad = (~torch.isfinite(table)).any()
        if run.world > 1:
            bad = bad.float()
            torch.distributed.all_reduce(bad, torch.distributed.ReduceOp.MAX)
        if not bad:
            return
        failures = [failure(run, table, window)]
        if run.world > 1:
            failures = [None] * run.world
            torch.distributed.all_gather_object(failures, failure(run, table, window))
        raise TrainingError(min((s for s in failures if s), default=(0, "The loss is not finite"))[1] + f" {ADVICE}")


ADVICE = (
    "The last good checkpoint is kept. Lower optimizer.lr, lengthen optimizer.warmup, "
    "or use hardware.precision=32 (or bf16-mixed in place of 16-mixed)."
)


def failure(
    run: TrainingRun, table: Tensor, window: list[tuple[int, list[Tensor], list[Tensor]]]
) -> tuple[int, str] | None:
    """The first bad step of this rank and where in it: (step, what happened)."""
    bad = ~torch.isfinite(table)
    rows = bad.any(dim=1).nonzero()
    if not len(rows):
        return None
    step, _, indices = window[int(rows[0])]
    which = int(bad[int(rows[0])].nonzero()[0])
    value = float(table[int(rows[0]), which])
    example = torch.cat(indices)[which : which + 1]
    return step, f"The loss is {value} at step {step}, {place(run, example)}."


def place(run: TrainingRun, example: Tensor) -> str:
    """Return the image, time and noise level of an example: its number gives its random numbers again."""
    schedule = run.module.denoiser.schedule
    times = run.module.objective.times
    t, _ = times(times.uniforms(KeyedRandom(run.seed, example)), schedule)
    level = schedule.level(t)
    return f"image {int(example)}, t={float(t):.4g} (alpha={float(level.alpha):.4g}, sigma={float(level.sigma):.4g})"
