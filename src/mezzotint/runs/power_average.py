"""Power-function averages of weights, and any length of them from snapshots of others.

The average of length std at time t weighs the weights of time s by p(s) = (gamma + 1) s^gamma / t^(gamma + 1), whose
standard deviation is std t. Its profile is fitted by those of the snapshots in the least-squares sense.
Source: Karras et al. 2024, section 3 and appendix C, https://arxiv.org/abs/2312.02696
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cache

DIGITS = 50  # of the solution: the inner products of many similar profiles are nearly dependent
LONGEST = 0.2886  # std of the plain mean of all weights is 1 / sqrt(12)


@dataclass(frozen=True, order=True)
class PowerAverage:
    """An average of length `std`, a fraction of the images seen, at the time of so many images."""

    images: int
    std: float


@cache
def exponent(std: float) -> Decimal:
    """Return gamma of a relative standard deviation: the root above 0 of (g + 2)^2 (g + 3) std^2 = g + 1 (eq. 123).

    Raises:
        ValueError: no power function is as wide.
    """
    if not 0 < std <= LONGEST:
        raise ValueError(f"std={std:g}: give a fraction of the images seen, above 0 and at most {LONGEST}")
    with localcontext() as context:
        context.prec = DIGITS
        square = Decimal(str(std)) ** 2
        gamma = 1 / Decimal(str(std))  # above the root: the function is convex and falls to the root from there
        for _ in range(200):
            value = (gamma + 2) ** 2 * (gamma + 3) * square - gamma - 1
            step = value / ((gamma + 2) * (3 * gamma + 8) * square - 1)
            gamma -= step
            if abs(step) < Decimal(10) ** (10 - DIGITS):
                break
        return gamma


def decay(std: float, images: int, batch_size: int) -> float:
    """Return how much of the average stays after a step that brings the images seen to `images` (eq. 127)."""
    return (1 - batch_size / images) ** (float(exponent(std)) + 1) if images > batch_size else 0.0


def product(a: tuple[Decimal, Decimal], b: tuple[Decimal, Decimal]) -> Decimal:
    """Inner product of two profiles, each (time, gamma): the integral of p_a(s) p_b(s) over s (eq. 143)."""
    (early, gamma), (late, other) = sorted((a, b))
    return (gamma + 1) * (other + 1) * (early / late) ** other / ((gamma + other + 1) * late)


def coefficients(snapshots: Sequence[PowerAverage], wanted: PowerAverage) -> list[float]:
    """Return the weights of snapshots whose sum is nearest to an average, in the least-squares sense of the profiles.

    Args:
        snapshots: all different.
    """
    with localcontext() as context:
        context.prec = DIGITS
        last = Decimal(wanted.images)
        profiles = [(one.images / last, exponent(one.std)) for one in snapshots]
        target = (Decimal(1), exponent(wanted.std))
        rows = [[product(a, b) for b in profiles] + [product(a, target)] for a in profiles]
        return [float(value) for value in solved(rows)]


def solved(rows: list[list[Decimal]]) -> list[Decimal]:
    """Solve a symmetric positive definite system, given as rows of [matrix | right side], by elimination."""
    count = len(rows)
    for i in range(count):
        for row in rows[i + 1 :]:
            factor = row[i] / rows[i][i]
            for k in range(i, count + 1):
                row[k] -= factor * rows[i][k]
    found: list[Decimal] = [Decimal(0)] * count
    for i in reversed(range(count)):
        known = sum((rows[i][k] * found[k] for k in range(i + 1, count)), Decimal(0))
        found[i] = (rows[i][count] - known) / rows[i][i]
    return found
