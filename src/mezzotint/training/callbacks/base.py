"""The callbacks' base class: a Lightning callback with the hooks of a training run."""

from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import lightning.pytorch as pl

from mezzotint.training.callback_group import CallbackGroup
from mezzotint.training.interval_plan import IntervalPlan
from mezzotint.training.training_run import RunHooks, TrainingRun

if TYPE_CHECKING:
    from mezzotint.generation import SamplingRecipe
    from mezzotint.metrics import Metric


class Callback(RunHooks, pl.Callback):
    """Base of callbacks: Lightning callbacks with the simpler hooks of a run.

    `fit` calls them through one CallbackGroup. In a Trainer of one's own the first of them makes that group at the
    start of training, for all that the Trainer has, and passes Lightning's hooks on to it: list them in any order.
    A callback with state overrides Lightning's `state_dict` and `load_state_dict`. What it costs and needs it says
    itself, before a run begins: see `forward_passes`, `checkpoints` and `validate`.

    Attributes:
        evaluates: it gives a score by which the best checkpoint is kept.
    """

    group: CallbackGroup | None = None
    evaluates: ClassVar[bool] = False

    def forward_passes(self, run: TrainingRun) -> float:
        """Forward passes of the network that it makes during training, in all ranks together."""
        return 0

    def describe_passes(self, run: TrainingRun) -> str:
        """Describe these passes, as "10 times 64 images"; an empty text where there are none."""
        return ""

    def checkpoints(self, budget: int, others: Container[str]) -> int:
        """Checkpoints that it keeps on the disk at once.

        Args:
            others: the names of the run's callbacks.
        """
        return 0

    def validate(
        self, metrics: "Mapping[str, Metric]", reference: int | None, sampling: "SamplingRecipe | None"
    ) -> None:
        """Refuse what it could not evaluate while the run trains.

        Args:
            metrics: those of the final evaluation.
            reference: number of images in the reference; None if not known yet.
            sampling: how the run draws samples.

        Raises:
            ConfigError: what is missing, and what to do.
        """

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
        every: images between two looks, or below 1 the share of the budget; a plan may be content with fewer looks.
    """

    every: float
    newest = -1  # step of the newest look
    planned: tuple[TrainingRun, IntervalPlan] | None = None

    def plan_intervals(self, run: TrainingRun) -> IntervalPlan:
        """Return the number of looks, the end included, and what each of them costs."""
        return IntervalPlan(run.occasions(self.every), images=0)

    def intervals(self, run: TrainingRun) -> IntervalPlan:
        """Return the plan for this run, which is made once."""
        if self.planned is None or self.planned[0] is not run:
            self.planned = run, self.plan_intervals(run)
        return self.planned[1]

    def due(self, run: TrainingRun) -> bool:
        """Return whether the run is to be looked at after the step just done."""
        plan = self.intervals(run)
        early = plan.early is not None and run.reaches(plan.early)
        return early or run.due(max(run.count(self.every), plan.interval(run.budget)))

    def step(self, run: TrainingRun) -> None:
        if self.due(run) and not run.finished:
            self.newest = run.step
            with run.clock.counting():
                self.on_interval(run)

    def finish(self, run: TrainingRun) -> None:
        if self.newest != run.step:  # it is the same where the run was stopped early by what was found then
            with run.clock.counting():
                self.on_interval(run)

    def forward_passes(self, run: TrainingRun) -> float:
        return self.plan_intervals(run).passes

    def describe_passes(self, run: TrainingRun) -> str:
        plan = self.plan_intervals(run)
        return str(plan) if plan.passes else ""

    def on_interval(self, run: TrainingRun) -> None:
        """The periodic work, on every rank."""
        raise NotImplementedError


def own(callbacks: Mapping[str, pl.Callback]) -> dict[str, Callback]:
    """Return ours among the callbacks of a run, by name."""
    return {name: callback for name, callback in callbacks.items() if isinstance(callback, Callback)}
