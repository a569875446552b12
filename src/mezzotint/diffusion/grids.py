"""Grids: which levels a sampler visits. A spacing is a frozen object that, called with a schedule, gives the levels."""

import abc
from dataclasses import dataclass

from .levels import NoiseLevel
from .schedules import Schedule

Grid = tuple[NoiseLevel, ...]


class Spacing(abc.ABC):
    """spacing(schedule) -> levels from noise to clean."""

    @abc.abstractmethod
    def __call__(self, schedule: Schedule) -> Grid: ...


@dataclass(frozen=True)
class Trailing(Spacing):
    """t_i = T - i T / steps, i = 0..steps (rounded on tables): starts at T.

    Source: Lin et al. 2023, table 2, https://arxiv.org/abs/2305.08891

    Args:
        steps: number of steps.
    """

    steps: int = 50

    def __call__(self, schedule: Schedule) -> Grid:
        n = self.steps
        return tuple(schedule.level(_rounded(schedule, schedule.t_max * (n - i) / n)) for i in range(n + 1))


def _rounded(schedule: Schedule, t: float) -> float:
    return float(round(t)) if schedule.steps else t
