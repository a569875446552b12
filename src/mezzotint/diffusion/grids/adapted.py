"""Spacings that adapt another one to the schedule."""

from dataclasses import dataclass
from itertools import groupby, pairwise

from mezzotint.attributes import computed

from ..schedules.continuous import Schedule
from .noise_levels import Karras
from .spacings import Grid, Spacing
from .table_entries import Trailing


@dataclass(frozen=True)
class AutoSpacing(Spacing):
    """`Trailing`, or `Karras` on schedules such as EDM's, where equal steps in time skip the small noise levels.

    The criterion is DDIM with 50 steps of `Trailing` on Gaussian data of standard deviation 0.4: `Karras` where their
    standard deviation shrinks by more than a quarter.
    """

    steps: int = 50

    def __call__(self, schedule: Schedule) -> Grid:
        return self.choose(schedule)(schedule)

    def choose(self, schedule: Schedule) -> Spacing:
        """Return the spacing for this schedule."""
        trailing, std = Trailing(min(50, schedule.steps or 50))(schedule), 0.4
        x = schedule.prior_std(trailing[0])
        for now, next in pairwise(trailing):
            x *= (next.alpha * now.alpha * std**2 + next.sigma * now.sigma) / ((now.alpha * std) ** 2 + now.sigma**2)
        return Trailing(self.steps) if x > 0.75 * std else Karras(self.steps)


@dataclass(frozen=True)
class SnapToTable(Spacing):
    """Another spacing with every level moved to the nearest entry of the table, for networks trained on those alone.

    Levels that move to the same entry are merged, so there may be fewer steps.
    """

    spacing: Spacing

    @computed
    def steps(self) -> int:
        return self.spacing.steps

    def __call__(self, schedule: Schedule) -> Grid:
        if not schedule.steps:
            raise ValueError(
                f"SnapToTable needs a discrete schedule, and {schedule} is continuous. Use {self.spacing} itself."
            )
        grid = self.spacing(schedule)
        times = [0.0 if level.clean else float(round(float(schedule.time(level)))) for level in grid]
        return tuple(schedule.level(t) for t, _ in groupby(times))
