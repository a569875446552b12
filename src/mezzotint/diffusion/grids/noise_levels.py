"""Spacings in the noise level: in sigma / alpha, in log-SNR, in the angle."""

import math
from dataclasses import dataclass

from ..levels import NoiseLevel
from ..schedules.continuous import Schedule
from .spacings import Grid, Spacing, at_times, distinct_times, positive_steps


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
        n, last = positive_steps(self.steps), schedule.level(schedule.t_max)
        angles = [math.atan2(last.sigma, last.alpha) * (n - i) / n for i in range(1, n)]
        times = [float(schedule.time(NoiseLevel(math.cos(u), math.sin(u)))) for u in angles]
        return at_times(schedule, [schedule.t_max, *distinct_times(schedule, times)])


def _at_ratios(schedule: Schedule, ratios: list[float]) -> Grid:
    times = [float(schedule.time(NoiseLevel(1.0, ratio))) for ratio in ratios]
    if schedule.steps:  # undo rounding errors at entries of the table
        times = [float(round(t)) if abs(t - round(t)) < 1e-9 else t for t in times]
    return at_times(schedule, times)


def _ramp(steps: int) -> list[float]:
    """Return `steps` numbers from 0 to 1; a single one is 0."""
    last = max(positive_steps(steps) - 1, 1)
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
