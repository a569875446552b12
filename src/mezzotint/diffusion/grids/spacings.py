"""Grids: the levels that a sampler visits. A spacing is a frozen object that maps a schedule to these levels.

Every spacing starts in noise, ends clean (sigma = 0) and has `steps` steps. Spacings over table entries (`Leading`,
`Linspace`, ...) treat a continuous schedule as a table of 1000 steps; their indices count from 0 for the first noisy
entry, as in the papers' code.
"""

import abc
import math
from dataclasses import dataclass
from itertools import groupby, pairwise

from mezzotint.attributes import computed
from mezzotint.finite import Finite

from ..levels import NoiseLevel
from ..schedules.continuous import Schedule
from .beta_quantile import beta_quantile

Grid = tuple[NoiseLevel, ...]


class Spacing(metaclass=Finite):
    """spacing(schedule) -> `steps` + 1 levels, from noise to clean."""

    steps: int

    @abc.abstractmethod
    def __call__(self, schedule: Schedule) -> Grid: ...


@dataclass(frozen=True)
class Trailing(Spacing):
    """t_i = T - i T / steps, rounded on tables: starts at T.

    Source: Lin et al. 2023, table 2, https://arxiv.org/abs/2305.08891
    """

    steps: int = 50

    def __call__(self, schedule: Schedule) -> Grid:
        n, end, _ = self.steps, schedule.t_max, _entries(schedule, self.steps)
        if schedule.steps:
            return _at(schedule, [float(round(end * (n - i) / n)) for i in range(n)])
        return _at(schedule, [end * ((n - i) / n) for i in range(n)])


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


@dataclass(frozen=True)
class Karras(Spacing):
    """sigma_i = (s_max^(1/rho) + i / (n - 1) (s_min^(1/rho) - s_max^(1/rho)))^rho in sigma / alpha, then clean.

    Source: Karras et al. 2022, eq. 5, https://arxiv.org/abs/2206.00364

    Args:
        steps: n.
        sigma_min, sigma_max: the range of sigma / alpha, clamped to the schedule's; by default the schedule's own range
            (0.002 where it reaches 0, 80 where it reaches pure noise).
        rho: 7 concentrates steps at low noise; 1 is uniform.
    """

    positive = ("sigma_min", "sigma_max", "rho")

    steps: int = 18
    sigma_min: float | None = None
    sigma_max: float | None = None
    rho: float = 7.0

    def __call__(self, schedule: Schedule) -> Grid:
        low, high = _ratios(schedule, self.sigma_min, self.sigma_max, self.steps)
        a, b = high ** (1.0 / self.rho), low ** (1.0 / self.rho)
        return _at_ratios(schedule, [(a + f * (b - a)) ** self.rho for f in _ramp(self.steps)])


@dataclass(frozen=True)
class UniformLogSNR(Spacing):
    """log-SNR in equal steps (sigma / alpha in a geometric series), then clean.

    Also known as the exponential grid and as Lu's lambda grid.
    Source: Lu et al. 2022, sec. 3.2, https://arxiv.org/abs/2206.00927

    Args:
        steps: number of steps.
        sigma_min, sigma_max: the range of sigma / alpha, as in `Karras`.
    """

    positive = ("sigma_min", "sigma_max")

    steps: int = 20
    sigma_min: float | None = None
    sigma_max: float | None = None

    def __call__(self, schedule: Schedule) -> Grid:
        low, high = _ratios(schedule, self.sigma_min, self.sigma_max, self.steps)
        return _at_ratios(schedule, [high * (low / high) ** f for f in _ramp(self.steps)])


@dataclass(frozen=True)
class UniformAngle(Spacing):
    """atan2(sigma, alpha) in equal steps from the schedule's last level to clean, as on a cosine schedule.

    Source: Nichol and Dhariwal 2021, eq. 17, with offset 0, https://arxiv.org/abs/2102.09672
    """

    steps: int = 20

    def __call__(self, schedule: Schedule) -> Grid:
        n, last = _positive(self.steps), schedule.level(schedule.t_max)
        angles = [math.atan2(last.sigma, last.alpha) * (n - i) / n for i in range(1, n)]
        times = [float(schedule.time(NoiseLevel(math.cos(u), math.sin(u)))) for u in angles]
        return _at(schedule, [schedule.t_max, *_distinct(schedule, times)])


@dataclass(frozen=True)
class BetaQuantiles(Spacing):
    """t_i = T F^-1(1 - i / steps), F the Beta(a, b) distribution: more steps at both ends for a, b < 1.

    Source: Lee et al. 2024, https://arxiv.org/abs/2407.12173

    Args:
        steps: number of steps.
        a, b: the shape parameters; the paper uses 0.6 for both.
    """

    positive = ("a", "b")

    steps: int = 20
    a: float = 0.6
    b: float = 0.6

    def __call__(self, schedule: Schedule) -> Grid:
        n = _positive(self.steps)
        times = [schedule.t_max * beta_quantile(1.0 - i / n, self.a, self.b) for i in range(1, n)]
        return _at(schedule, [schedule.t_max, *_distinct(schedule, times)])


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
        return _at(schedule, [t for t in self.times if t])


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


def _positive(steps: int) -> int:
    if steps < 1:
        raise ValueError(f"steps={steps}: a grid needs at least one step. Use steps=1 or more.")
    return steps


def _entries(schedule: Schedule, steps: int) -> int:
    """Return the number of entries of the table, or 1000 for a continuous schedule."""
    entries = schedule.steps or max(1000, steps)
    if _positive(steps) > entries:
        raise ValueError(f"steps={steps} exceeds the {entries} steps of the schedule. Use at most {entries}.")
    return entries


def _at(schedule: Schedule, times: list[float]) -> Grid:
    return (*(schedule.level(t) for t in times), schedule.level(0.0))


def _at_indices(schedule: Schedule, steps: int, indices: list[int]) -> Grid:
    """Return the grid of increasing indices, 0 for the first noisy entry."""
    entries, end = _entries(schedule, steps), schedule.t_max
    return _at(schedule, [float(i + 1) if schedule.steps else end * ((i + 1) / entries) for i in reversed(indices)])


def _made_distinct(indices: list[int], last: int) -> list[int]:
    """Return increasing indices up to `last`, moved as little as needed to be distinct."""
    for i in range(1, len(indices)):
        indices[i] = max(indices[i], indices[i - 1] + 1)
    return [min(index, last + 1 - len(indices) + i) for i, index in enumerate(indices)]


def _at_ratios(schedule: Schedule, ratios: list[float]) -> Grid:
    times = [float(schedule.time(NoiseLevel(1.0, ratio))) for ratio in ratios]
    if schedule.steps:  # undo rounding errors at entries of the table
        times = [float(round(t)) if abs(t - round(t)) < 1e-9 else t for t in times]
    return _at(schedule, times)


def _ramp(steps: int) -> list[float]:
    """Return `steps` numbers from 0 to 1; a single one is 0."""
    last = max(_positive(steps) - 1, 1)
    return [i / last for i in range(steps)]


def _ratios(schedule: Schedule, low: float | None, high: float | None, steps: int) -> tuple[float, float]:
    """Return the range of sigma / alpha, clamped to the schedule's."""
    own_high = float(schedule.level(schedule.t_max).ratio)
    own_low = float(schedule.level(1.0).ratio) if schedule.steps else 0.0
    high = min(high or (own_high if own_high < math.inf else 80.0), own_high)
    low = max(low or own_low or 0.002, own_low)
    if not 0.0 < low <= high or (low == high and steps > 1):
        raise ValueError(
            f"sigma_min={low:g} is not below sigma_max={high:g} on {schedule}. Give 0 < sigma_min < sigma_max."
        )
    return low, high


def _distinct(schedule: Schedule, times: list[float]) -> list[float]:
    """Return decreasing times below t_max; those that a table would clamp to 1 are spread out below the others."""
    low = 1.0 if schedule.steps else 0.0
    inside = [t for t in times if t > low]
    missing = len(times) - len(inside)
    top = min(inside[-1:] or [schedule.t_max])
    if missing and not top > low:
        raise ValueError(f"steps={len(times) + 1} on {schedule}, which has one noisy level. Use steps=1.")
    return inside + [low + (top - low) * (missing - 1 - i) / missing for i in range(missing)] if missing else inside
