"""Quantiles of the Beta distribution in float64, without SciPy."""

import math
from functools import lru_cache


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
