"""Grids: the levels that a sampler visits. A spacing is a frozen object that maps a schedule to these levels.

Every spacing starts in noise, ends clean (sigma = 0) and has `steps` steps.
"""

import abc
from dataclasses import dataclass

from mezzotint.attributes import computed
from mezzotint.finite import Finite

from ..levels import NoiseLevel
from ..schedules.continuous import Schedule

Grid = tuple[NoiseLevel, ...]


class Spacing(metaclass=Finite):
    """spacing(schedule) -> `steps` + 1 levels, from noise to clean."""

    steps: int

    @abc.abstractmethod
    def __call__(self, schedule: Schedule) -> Grid: ...


@dataclass(frozen=True)
class ExplicitTimes(Spacing):
    """Explicit times of the schedule, then clean, such as the result of `optimal_grid`.

    Args:
        times: in decreasing order; a final 0 is optional.
    """

    times: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "times", tuple(float(t) for t in self.times))
        if any(s >= t for t, s in zip(self.times, self.times[1:], strict=False)):
            raise ValueError(f"times={self.times} must be strictly decreasing. Sort them and drop duplicates.")
        if self.steps < 1 or self.times[-1] < 0.0:
            raise ValueError(f"times={self.times} must contain a time above 0 and none below. Remove negative times.")

    @computed
    def steps(self) -> int:
        return sum(t != 0.0 for t in self.times)

    def __call__(self, schedule: Schedule) -> Grid:
        if self.times[0] > schedule.t_max * (1.0 + 1e-9):
            raise ValueError(
                f"times start at {self.times[0]:g}, beyond t_max={schedule.t_max:g} of {schedule}. Use times up to it."
            )
        return at_times(schedule, [t for t in self.times if t])


def positive_steps(steps: int) -> int:
    """Return a number of steps. Raises ValueError below 1."""
    if steps < 1:
        raise ValueError(f"steps={steps}: a grid needs at least one step. Use steps=1 or more.")
    return steps


def at_times(schedule: Schedule, times: list[float]) -> Grid:
    """Return the grid of these times, then clean."""
    return (*(schedule.level(t) for t in times), schedule.level(0.0))


def distinct_times(schedule: Schedule, times: list[float]) -> list[float]:
    """Return decreasing times below t_max; those that a table would clamp to 1 are spread out below the others."""
    low = 1.0 if schedule.steps else 0.0
    inside = [t for t in times if t > low]
    missing = len(times) - len(inside)
    top = min(inside[-1:] or [schedule.t_max])
    if missing and not top > low:
        raise ValueError(f"steps={len(times) + 1} on {schedule}, which has one noisy level. Use steps=1.")
    return inside + [low + (top - low) * (missing - 1 - i) / missing for i in range(missing)] if missing else inside
