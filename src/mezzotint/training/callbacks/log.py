"""metrics.jsonl, the log of a run, and its copy to the trackers."""

import json
import os
import time
from contextlib import ExitStack, suppress
from typing import Any

import torch
from torch import Tensor

from mezzotint.runs import RunDir
from mezzotint.training.amounts import check_steps
from mezzotint.training.callbacks.base import Callback
from mezzotint.training.flat import flat
from mezzotint.training.tracking.hooks import RunInfo
from mezzotint.training.training_run import TrainingRun


class Log(Callback):
    """Writes one JSON object a line: step, images, loss, grad_norm, lr, and what other callbacks left in `run.pending`.

    loss and grad_norm are means since the line before, over all ranks. They stay on the device until the line is due,
    so a step costs a list entry, and the open window is part of the checkpoint: a run that was killed writes the lines
    of one that was not. What the clock says (images_per_second, seconds) differs between two runs and stands apart,
    under "time". On resume the file is cut back to the checkpoint, so each step has one line.

    Args:
        every: optimiser steps a line; of several, below 1 the share of the run's steps, the least counts.
    """

    order = 20
    key = "log"

    def __init__(self, every: int | tuple[float, ...] = 50) -> None:
        check_steps(every)
        self.every = every
        self.losses: list[Tensor] = []
        self.norms: list[Tensor] = []
        self.last = 0  # step of the last line
        self.seconds = 0.0  # of training, all starts together
        self.loaded: dict[str, Any] = {}
        self.run: TrainingRun | None = None
        self.out: Any = None

    def start(self, run: TrainingRun) -> None:
        self.run = run
        self.restore(run)
        lines = []
        if run.rank == 0:
            files = RunDir(run.directory)
            lines = files.truncate(files.metrics_file, run.step)
            self.out = open(files.metrics_file, "a", encoding="utf-8")  # noqa: SIM115
            for logger in run.loggers:
                logger.start(RunInfo(run.directory, run.config, run.images), lines)
        for line in lines:
            run.values |= line
        self.last = lines[-1]["step"] if lines else 0
        self.clock = self.since = time.monotonic()
        self.counted = run.images

    def step(self, run: TrainingRun) -> None:
        parts = run.module.losses
        self.losses.append(parts[0].mean() if len(parts) == 1 else torch.stack(parts).mean())
        self.norms.append(run.module.grad_norm)
        if run.finished:
            return  # finish writes the line, when all that belongs to the last step is known
        if run.step % run.between(self.every) == 0:
            self.line(run)
        elif run.pending:
            self.write(run, {})

    def finish(self, run: TrainingRun) -> None:
        if self.losses:
            self.line(run)
        elif run.pending:
            self.write(run, {})

    def take_back(self, run: TrainingRun) -> dict[str, Any]:
        """Remove and return the line of this step, written before a callback of Lightning ended the run with it."""
        files = RunDir(run.directory)
        self.out.close()
        line = files.metrics()[-1]
        files.truncate(files.metrics_file, run.step - 1)
        self.out = open(files.metrics_file, "a", encoding="utf-8")  # noqa: SIM115
        return line

    def line(self, run: TrainingRun) -> None:
        """The one transfer from the device: the window's losses and gradient norms."""
        mean = torch.stack([torch.stack(self.losses).mean(), torch.stack(self.norms).mean()])
        if run.world > 1:
            torch.distributed.all_reduce(mean)
            mean = mean / run.world
        loss, norm = mean.tolist()
        self.losses, self.norms = [], []
        values = {"loss": loss, "grad_norm": norm, "lr": run.module.rate}
        if not run.module.logging:  # which would log them itself, at every step
            run.reported |= values
        self.write(run, values)

    def write(self, run: TrainingRun, values: dict[str, Any]) -> None:
        now = time.monotonic()
        line = {"step": run.step, "images": run.images, **values, **run.pending}
        run.pending.clear()
        clock = {"seconds": self.seconds + now - self.clock}
        if values:
            clock["images_per_second"] = (run.images - self.counted) / max(now - self.since, 1e-9)
            self.since, self.counted = now, run.images
        line["time"] = {name: round(value, 3) for name, value in clock.items()}
        run.values |= line
        if run.rank == 0:
            whole = (self.take_back(run) | line) if run.step == self.last else line
            self.out.write(json.dumps(whole) + "\n")
            self.out.flush()
            for logger in run.loggers:
                logger.log(run.images, flat(line))
        self.last = run.step

    def state_dict(self) -> dict[str, Any]:
        """The open window of all ranks and the seconds so far; empty before training."""
        if self.run is None:
            return self.loaded
        if self.out is not None:
            os.fsync(self.out.fileno())
        losses, norms = gathered(self.run, self.losses), gathered(self.run, self.norms)
        return {"losses": losses, "norms": norms, "seconds": self.seconds + time.monotonic() - self.clock}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.loaded = state_dict

    def restore(self, run: TrainingRun) -> None:
        """Each rank takes its own part of the open window; another number of ranks takes the mean of all."""
        loaded, self.loaded = self.loaded, {}
        self.losses, self.norms, self.seconds = [], [], 0.0
        if not loaded:
            return
        device = run.module.device
        parts = {name: loaded[name] for name in ("losses", "norms")}
        same = len(parts["losses"]) == run.world
        mine = {name: rows[run.rank] if same else rows.mean(0) for name, rows in parts.items()}
        self.losses, self.norms = (list(mine[name].to(device).unbind()) for name in ("losses", "norms"))
        self.seconds = loaded["seconds"]

    def close(self, run: TrainingRun, error: BaseException | None) -> None:
        out, self.out = self.out, None
        if out is not None:
            with suppress(OSError):  # each line was forced out; one that a full disk refused has been told of
                out.close()
        stopped = (run.stopped and not run.finished) or isinstance(error, KeyboardInterrupt)
        with ExitStack() as closing:  # one that cannot be finished keeps no other from it
            for logger in reversed(run.loggers):
                closing.callback(logger.finish, 130 if stopped else 1 if error else 0)


def gathered(run: TrainingRun, window: list[Tensor]) -> Tensor:
    """The windows of all ranks, (world, n), on the CPU."""
    mine = torch.stack(window).float() if window else torch.zeros(0, device=run.module.device)
    if run.world == 1:
        return mine[None].cpu()
    rows = [torch.empty_like(mine) for _ in range(run.world)]
    torch.distributed.all_gather(rows, mine)
    return torch.stack(rows).cpu()
