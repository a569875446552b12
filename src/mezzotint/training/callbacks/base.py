"""The callbacks' base class: a Lightning callback with the hooks of a training run."""

from typing import Any

import lightning.pytorch as pl

from mezzotint.training.callback_group import CallbackGroup
from mezzotint.training.training_run import RunHooks, TrainingRun


class Callback(RunHooks, pl.Callback):
    """Base of callbacks: Lightning callbacks with the simpler hooks of a run.

    `fit` calls them through one CallbackGroup. In a Trainer of one's own the first of them makes that group at the
    start of training, for all that the Trainer has, and passes Lightning's hooks on to it: list them in any order.
    A callback with state overrides Lightning's `state_dict` and `load_state_dict`.
    """

    group: CallbackGroup | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        ours = [callback for callback in trainer.callbacks if isinstance(callback, Callback)]
        if ours[0] is self:
            self.group = CallbackGroup.of(trainer, pl_module, ours)
            self.group.on_train_start(trainer, pl_module)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if self.group:
            self.group.on_train_batch_end(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.group:
            self.group.on_train_end(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self.group:
            self.group.check()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if self.group:
            self.group.close(exception)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        group, self.group = self.group, None
        if group:
            group.close(None)


class PeriodicCallback(Callback):
    """A callback that looks at the run every so many images and at its end.

    Attributes:
        every: images between two looks, or below 1 the share of the budget.
    """

    every: float
    newest = -1  # step of the newest look

    def step(self, run: TrainingRun) -> None:
        if run.due(self.every) and not run.finished:
            self.newest = run.step
            self.on_interval(run)

    def finish(self, run: TrainingRun) -> None:
        if self.newest != run.step:  # it is the same where the run was stopped early by what was found then
            self.on_interval(run)

    def passes(self, run: TrainingRun) -> int:
        """Forward passes of the network that a look takes, in all ranks together; for the plan."""
        return 0

    def on_interval(self, run: TrainingRun) -> None:
        """The periodic work, on every rank."""
        raise NotImplementedError
