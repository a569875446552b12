"""Grids that go up again: samplers walk them wrapped in `Renoised`, which draws fresh noise on every upward step."""

from __future__ import annotations

from dataclasses import dataclass

from ..schedules.continuous import Schedule
from .spacings import Grid, Karras, Spacing


@dataclass(frozen=True)
class Restart(Spacing):
    """Another grid that, once sigma / alpha has come down to `low`, goes back to `high` and down again, several times.

    The fresh noise forgets the errors made before, and the steps between stay those of an ODE.

    Source: Xu et al. 2023, algorithm 1, https://arxiv.org/abs/2306.14878

    Args:
        spacing: the other grid.
        low, high: the interval of sigma / alpha that is repeated.
        repeats: how often.
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

    @property
    def steps(self) -> int:  # type: ignore[override]
        return self.spacing.steps + self.repeats * (self.inner + 1)

    def __call__(self, schedule: Schedule) -> Grid:
        grid = self.spacing(schedule)
        turn = next((i for i, level in enumerate(grid[:-1]) if float(level.ratio) <= self.low), len(grid) - 2)
        reached = float(grid[turn].ratio)
        if not reached < self.high or not self.low < self.high:
            raise ValueError(
                f"The grid comes down to sigma / alpha = {reached:g}, not below high={self.high:g}. Raise high."
            )
        again = Karras(self.inner + 1, reached, self.high)(schedule)[:-2]
        return grid[: turn + 1] + (*again, grid[turn]) * self.repeats + grid[turn + 1 :]


@dataclass(frozen=True)
class RePaint(Spacing):
    """Another grid that after every `jump` steps goes back over them, so that each stretch is walked `walks` times.

    The up-going steps go level by level, as in the authors' code.

    Source: Lugmayr et al. 2022, sec. 4.2, https://arxiv.org/abs/2201.09865

    Args:
        spacing: the other grid.
        jump: steps in a stretch.
        walks: how often each stretch is walked; 1 is the grid itself.
    """

    spacing: Spacing
    jump: int = 10
    walks: int = 10

    def __post_init__(self) -> None:
        if self.jump < 1 or self.walks < 1:
            raise ValueError(
                f"jump={self.jump}, walks={self.walks}: give 1 or more of both; walks=1 is the grid itself."
            )

    @property
    def steps(self) -> int:  # type: ignore[override]
        n = self.spacing.steps
        return n + 2 * (self.walks - 1) * (n // self.jump) * self.jump

    def __call__(self, schedule: Schedule) -> Grid:
        grid = self.spacing(schedule)
        visited = [grid[0]]
        for start in range(0, len(grid) - 1, self.jump):
            stretch = grid[start : start + self.jump + 1]
            visited += stretch[1:]
            if len(stretch) == self.jump + 1:
                visited += (*stretch[-2::-1], *stretch[1:]) * (self.walks - 1)
        return tuple(visited)
