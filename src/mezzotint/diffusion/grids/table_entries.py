"""Spacings over the entries of a table.

A continuous schedule is treated as a table of 1000 steps. Indices count from 0 for the first noisy entry, as in the
papers' code.
"""

from dataclasses import dataclass

from ..schedules.continuous import Schedule
from .spacings import Grid, Spacing, at_times, positive_steps


@dataclass(frozen=True)
class Trailing(Spacing):
    """t_i = T - i T / steps, rounded on tables: starts at T.

    Source: Lin et al. 2023, table 2, https://arxiv.org/abs/2305.08891
    """

    steps: int = 50

    def __call__(self, schedule: Schedule) -> Grid:
        n, end, _ = self.steps, schedule.t_max, _entries(schedule, self.steps)
        if schedule.steps:
            return at_times(schedule, [float(round(end * (n - i) / n)) for i in range(n)])
        return at_times(schedule, [end * ((n - i) / n) for i in range(n)])


@dataclass(frozen=True)
class Leading(Spacing):
    """Indices 0, k, 2k, ... with k = T // steps: ends at the first entry, starts below T.

    Source: Lin et al. 2023, table 2, https://arxiv.org/abs/2305.08891
    """

    steps: int = 50

    def __call__(self, schedule: Schedule) -> Grid:
        stride = _entries(schedule, self.steps) // self.steps
        return _at_indices(schedule, self.steps, [i * stride for i in range(self.steps)])


@dataclass(frozen=True)
class Linspace(Spacing):
    """Rounded linspace(0, T - 1, steps) of indices, both ends included; a single step starts at T.

    Source: Nichol and Dhariwal 2021, sec. 4, https://arxiv.org/abs/2102.09672
    """

    steps: int = 50

    def __call__(self, schedule: Schedule) -> Grid:
        last, n = _entries(schedule, self.steps) - 1, self.steps
        return _at_indices(schedule, n, [round(last * i / (n - 1)) for i in range(n)] if n > 1 else [last])


@dataclass(frozen=True)
class LinspaceOpen(Spacing):
    """Rounded linspace(0, T - 1, steps + 1) of indices without 0: another grid known as linspace.

    Source: Lu et al. 2022 (code), https://arxiv.org/abs/2211.01095
    """

    steps: int = 50

    def __call__(self, schedule: Schedule) -> Grid:
        last, n = _entries(schedule, self.steps) - 1, self.steps
        return _at_indices(schedule, n, _made_distinct([round(last * i / n) for i in range(1, n + 1)], last))


@dataclass(frozen=True)
class Quadratic(Spacing):
    """Indices floor(linspace(0, sqrt(reach T), steps)^2), moved up where two coincide.

    Source: Song et al. 2020, app. D.2, https://arxiv.org/abs/2010.02502

    Args:
        steps: number of steps.
        reach: start of the grid as a fraction of T; the authors' code uses 0.8.
    """

    positive = ("reach",)

    steps: int = 50
    reach: float = 1.0

    def __call__(self, schedule: Schedule) -> Grid:
        entries, n = _entries(schedule, self.steps), self.steps
        root = (self.reach * entries) ** 0.5
        indices = [int((root * (i / (n - 1) if n > 1 else 1.0)) ** 2 + 1e-9) for i in range(n)]
        return _at_indices(schedule, n, _made_distinct(indices, entries - 1))


def _entries(schedule: Schedule, steps: int) -> int:
    """Return the number of entries of the table, or 1000 for a continuous schedule."""
    entries = schedule.steps or max(1000, steps)
    if positive_steps(steps) > entries:
        raise ValueError(f"steps={steps} exceeds the {entries} steps of the schedule. Use at most {entries}.")
    return entries


def _at_indices(schedule: Schedule, steps: int, indices: list[int]) -> Grid:
    """Return the grid of increasing indices, 0 for the first noisy entry."""
    entries, end = _entries(schedule, steps), schedule.t_max
    return at_times(
        schedule, [float(i + 1) if schedule.steps else end * ((i + 1) / entries) for i in reversed(indices)]
    )


def _made_distinct(indices: list[int], last: int) -> list[int]:
    """Return increasing indices up to `last`, moved as little as needed to be distinct."""
    for i in range(1, len(indices)):
        indices[i] = max(indices[i], indices[i - 1] + 1)
    return [min(index, last + 1 - len(indices) + i) for i, index in enumerate(indices)]
