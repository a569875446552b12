"""The spacing at quantiles of a Beta distribution, which are computed in float64 and without SciPy."""

import math
from dataclasses import dataclass
from functools import lru_cache

from ..schedules.continuous import Schedule
from .spacings import Grid, Spacing, at_times, distinct_times, positive_steps


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
        n = positive_steps(self.steps)
        times = [schedule.t_max * beta_quantile(1.0 - i / n, self.a, self.b) for i in range(1, n)]
        return at_times(schedule, [schedule.t_max, *distinct_times(schedule, times)])


@lru_cache(maxsize=4096)
def beta_quantile(p: float, a: float, b: float) -> float:
    """Return x with Beta(a, b) distribution function p, by Newton's method with bisection outside the bracket."""
    low, high, x = 0.0, 1.0, 0.5
    log_norm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    for _ in range(200):
        error = _beta_cdf(x, a, b) - p
        low, high = (x, high) if error < 0 else (low, x)
        density = math.exp(log_norm + (a - 1.0) * math.log(x) + (b - 1.0) * math.log1p(-x))
        step = x - error / density
        following = step if low < step < high else 0.5 * (low + high)
        if abs(following - x) <= 4e-16 * x:
            break
        x = following
    return x


def _beta_cdf(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function. Source: DLMF 8.17.22 (continued fraction), https://dlmf.nist.gov/8.17"""
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - _beta_cdf(1.0 - x, b, a)
    log_front = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    value = 1.0
    for m in range(40, 0, -1):  # backwards from the tail; the two terms d_{2m}, d_{2m-1}
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m - 1) * (a + b + m - 1) * x / ((a + 2 * m - 2) * (a + 2 * m - 1))
        value = 1.0 + odd / (1.0 + even / value)
    return math.exp(log_front) / (a * value)
