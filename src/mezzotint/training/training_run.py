"""A training run as its callbacks see it, and the hooks by which it calls them."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from mezzotint.data.dataset import coded_shape
from mezzotint.finite import Finite
from mezzotint.runs.early_stop import EarlyStop
from mezzotint.runs.score import Score
from mezzotint.training.amounts import amount_of, least
from mezzotint.training.flat import flat
from mezzotint.training.interval_plan import NEGLIGIBLE, TRAINING_PASSES, Share

if TYPE_CHECKING:
    from mezzotint.diffusion import Denoiser
    from mezzotint.training.module import DiffusionModule
    from mezzotint.training.tracking.hooks import TrackerHooks


def missing(*_: Any) -> Any:
    raise RuntimeError("A run can do this only while it trains")


@dataclass
class RunClock:
    """Seconds since training began in this process, and those of them that periodic callbacks took.

    They are for people to read: nothing that a run computes depends on them.
    """

    began: float | None = None
    looking: float = 0.0

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count the time of a callback's periodic work."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.looking += time.monotonic() - start

    def spent(self) -> dict[str, float]:
        """Return the seconds of training without the callbacks' periodic work, and of that work."""
        here = 0.0 if self.began is None else time.monotonic() - self.began
        return {"training": max(0.0, here - self.looking), "looking": self.looking}


@dataclass
class TrainingRun:
    """One training run as its callbacks see it. Images are the only clock: `images` seen of a `budget`.

    Attributes:
        step: optimiser steps done; `steps` of them spend the budget.
        values: the newest numbers known on the host (loss, images_per_second, ...); reading them costs no transfer.
        pending: numbers that wait for the next line of the log.
        reported: the same by flat names (validation/loss), on their way to Lightning's callbacks and loggers.
        scores: the newest score, by the name of the callback that found it.
        sampling, judging: how samples are drawn and judged; None where nobody said.
        copy: gives a copy of the denoiser that is never trained, always the same one, with the buffers of now; its
            weights are yet to be filled in.
        average: gives the averaged denoiser for looking at, in evaluation mode; the live one is never touched.
        save: writes a checkpoint of this moment, on all ranks together.
        forward: the context in which the network runs, with its precision.
        validation: gives this rank's share of the held-out batches.
        template: a copy of the denoiser as it was before it was compiled, cut over ranks or trained.
        sharded: no rank holds the whole network, so all must run it together.
        timeout: seconds until a silent rank is given up.
        clock: seconds of this start, on this rank.
        begun: what a checkpoint holds has been restored.
        then: what follows the training, printed beside the time left.
        then_share: its estimated time as a share of the training's; 0 where it is not known.
        stopped: the signal that interrupts the run, such as "SIGTERM".
        early_stop: the end that callbacks of Lightning set, before the budget is spent; such a run is finished.
    """

    directory: Path
    module: "DiffusionModule"
    dataset: Any
    seed: int
    budget: int
    batch_size: int
    sampling: Any = None
    judging: Any = None
    config: dict[str, Any] = field(default_factory=dict)
    rank: int = 0
    world: int = 1
    step: int = 0
    timeout: float = 600.0
    begun: bool = False
    then: str = ""
    then_share: float = 0.0
    stopped: str | None = None
    early_stop: EarlyStop | None = None
    values: dict[str, Any] = field(default_factory=dict)
    pending: dict[str, Any] = field(default_factory=dict)
    reported: dict[str, float] = field(default_factory=dict)
    scores: dict[str, Score] = field(default_factory=dict)
    sharded: bool = False
    clock: RunClock = field(default_factory=RunClock)
    loggers: list["TrackerHooks"] = field(default_factory=list)
    template: "Denoiser | None" = None
    copy: Callable[[], "Denoiser"] = missing
    average: Callable[[], "Denoiser"] = missing
    save: Callable[[Path], None] = missing
    forward: Callable[[], AbstractContextManager[None]] = missing
    validation: Callable[[], Iterable[dict[str, Tensor]]] = missing

    @property
    def steps(self) -> int:
        return -(-self.budget // self.batch_size)

    @property
    def images(self) -> int:
        return self.step * self.batch_size

    @property
    def finished(self) -> bool:
        return self.early_stop is not None or self.step >= self.steps

    def report(self, name: str, values: dict[str, float]) -> None:
        """Log numbers that a callback found at this step, the same on every rank."""
        self.pending[name] = values
        self.reported |= flat({name: values})

    def count(self, amount: float) -> int:
        """An amount in images: a number below 1 is a share of the budget."""
        return least((amount,), self.budget)

    def between(self, every: int | tuple[float, ...]) -> int:
        """Steps from one time to the next: so many, or of several, below 1 a share of all steps, the least."""
        return int(amount_of(every, self.steps))

    def occasions(self, every: float) -> int:
        """Return how often in all of training a multiple of `every` images is passed; the end is one of them."""
        return min(self.steps, -(-self.budget // self.count(every)))

    def allowed_passes(self, share: Share, usual: float) -> float:
        """Return the forward passes that cost a share of the training's arithmetic; infinity without a limit.

        Args:
            share: "auto" for the usual share, or the passes that take next to no time, if these are more.
        """
        if share is None:
            return math.inf
        passes = TRAINING_PASSES * self.budget
        if share != "auto":
            return share * passes
        return max(usual * passes, NEGLIGIBLE / self.forward_flops if self.forward_flops else 0.0)

    @cached_property
    def forward_flops(self) -> int:
        """Operations of the network for one image; 0 if they cannot be counted."""
        from mezzotint.cost.flops import describe

        network = (self.template or self.module.denoiser).network
        try:
            return describe(network, coded_shape(self.dataset)).flops
        except Exception:  # a network of the user's own may do what tensors without memory cannot
            return 0

    def due(self, every: float) -> bool:
        """Return whether the step just done passed a multiple of `every` images."""
        interval = self.count(every)
        return self.images // interval > (self.images - self.batch_size) // interval

    def reaches(self, images: int) -> bool:
        """Return whether the step just done passed so many images for the first time."""
        return self.images - self.batch_size < images <= self.images


class RunHooks(metaclass=Finite):
    """Hooks that are called once per optimizer step, on every rank, never per micro-batch.

    `order` is the order within a step: averages before what samples from them, checkpoints after all that they hold.
    State is saved and restored as Lightning's callbacks do it, before `start`: in the checkpoints of a run under `key`,
    otherwise where Lightning puts it.
    """

    order: int = 0
    key: str = ""

    def start(self, run: TrainingRun) -> None:
        """Before the first step, after a checkpoint has been restored; the weights are where they will be trained."""

    def step(self, run: TrainingRun) -> None:
        """After an optimizer step. Must not wait for the device; every few dozen steps is often enough for that."""

    def finish(self, run: TrainingRun) -> None:
        """After the last step, when the budget is spent."""

    def check(self, run: TrainingRun) -> None:
        """Refuse, by raising, that a checkpoint is written now."""

    def close(self, run: TrainingRun, error: BaseException | None) -> None:
        """Last of all, also after an error."""

    def average(self) -> "Callable[[], Denoiser] | None":
        """A function that returns the denoiser with averaged weights; None for a callback that keeps none."""
        return None
