"""Grids that return to higher noise, for samplers wrapped in `Renoised`, which adds fresh noise on those steps."""

from __future__ import annotations

from dataclasses import dataclass

from mezzotint.attributes import computed

from ..schedules.continuous import Schedule
from .noise_levels import Karras
from .spacings import Grid, Spacing


@dataclass(frozen=True)
class Restart(Spacing):
    """Another grid that, once sigma / alpha has reached `low`, returns to `high` and repeats the interval.

    The fresh noise contracts accumulated errors, while all other steps remain those of an ODE.

    Source: Xu et al. 2023, algorithm 1, https://arxiv.org/abs/2306.14878

    Args:
        spacing: the underlying grid.
        low, high: the interval of sigma / alpha that is repeated.
        repeats: number of repetitions.
        inner: steps from high to low in each repetition.
    """

    positive = ("high",)
    natural = ("low", "repeats")

    spacing: Spacing = Karras(18)
    low: float = 0.06
    high: float = 0.3
    repeats: int = 4
    inner: int = 4

    def __post_init__(self) -> None:
        if self.repeats < 0 or self.inner < 1:
            raise ValueError(
                f"repeats={self.repeats}, inner={self.inner}: give 0 or more repetitions of 1 or more steps."
            )

    @computed
    def steps(self) -> int:
        return self.spacing.steps + self.repeats * (self.inner + 1)

    def __call__(self, schedule: Schedule) -> Grid:
        grid = self.spacing(schedule)
        turn = next((i for i, level in enumerate(grid[:-1]) if float(level.ratio) <= self.low), len(grid) - 2)
        reached = float(grid[turn].ratio)
        if not reached < self.high or not self.low < self.high:
            raise ValueError(
                f"The grid reaches sigma / alpha = {reached:g}, which is not below high={self.high:g}. Raise high."
            )
        again = Karras(self.inner + 1, reached, self.high)(schedule)[:-2]
        return grid[: turn + 1] + (*again, grid[turn]) * self.repeats + grid[turn + 1 :]


@dataclass(frozen=True)
class RePaint(Spacing):
    """Another grid in which every segment of `jump` steps is traversed `walks` times, with noise added in between.

    The steps to higher noise visit every level, as in the authors' code.

    Source: Lugmayr et al. 2022, sec. 4.2, https://arxiv.org/abs/2201.09865

    Args:
        spacing: the underlying grid.
        jump: number of steps in a segment.
        walks: number of passes over each segment; 1 is the grid itself.
    """

    spacing: Spacing
    jump: int = 10
    walks: int = 10

    def __post_init__(self) -> None:
        if self.jump < 1 or self.walks < 1:
            raise ValueError(
                f"jump={self.jump}, walks={self.walks}: give 1 or more of both; walks=1 is the grid itself."
            )

    @computed
    def steps(self) -> int:
        n = self.spacing.steps
        return n + 2 * (self.walks - 1) * (n // self.jump) * self.jump

    def __call__(self, schedule: Schedule) -> Grid:
        grid = self.spacing(schedule)
        visited = [grid[0]]
        for start in range(0, len(grid) - 1, self.jump):
            segment = grid[start : start + self.jump + 1]
            visited += segment[1:]
            if len(segment) == self.jump + 1:
                visited += (*segment[-2::-1], *segment[1:]) * (self.walks - 1)
        return tuple(visited)
