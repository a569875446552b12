"""Preemption: a run that is asked to stop does so at the end of a step, with a checkpoint, on all ranks at once."""

import signal
from datetime import timedelta
from typing import Any

from mezzotint.signals import install_handlers, pending_signal, restore_handlers
from mezzotint.training.callbacks.base import Callback
from mezzotint.training.training_run import TrainingRun


class Preemption(Callback):
    """Stops the run at the end of a step once any rank has been asked to: saves, and leaves it to be resumed.

    Args:
        every: steps between two votes of several ranks; one process looks at every step, which costs nothing.
    """

    order = 90

    def __init__(self, every: int = 10) -> None:
        if every < 1:
            raise ValueError(f"every={every}: give 1 or more steps")
        self.every = every
        self.group: Any = None
        self.heard: tuple[int, ...] = ()

    def start(self, run: TrainingRun) -> None:
        self.heard = install_handlers()
        if run.world > 1:
            import torch.distributed as distributed

            # a vote over host memory, so that the device is not waited for
            self.group = distributed.group.WORLD
            if distributed.get_backend() != "gloo":
                self.group = distributed.new_group(backend="gloo", timeout=timedelta(seconds=run.timeout))

    def step(self, run: TrainingRun) -> None:
        asked = pending_signal()
        if run.world == 1:
            run.stopped = asked or run.stopped
        elif run.step % self.every == 0:
            run.stopped = self.vote(asked) or run.stopped

    def vote(self, asked: str | None) -> str | None:
        import torch

        number = torch.tensor(signal.Signals[asked].value if asked else 0)
        torch.distributed.all_reduce(number, torch.distributed.ReduceOp.MAX, group=self.group)
        return signal.Signals(int(number)).name if int(number) else None

    def close(self, run: TrainingRun, error: BaseException | None) -> None:
        restore_handlers(self.heard)
