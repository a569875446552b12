"""ER-SDE: samplers of the extended reverse-time SDE."""

import math
from dataclasses import dataclass

from ..coordinates import DataCoordinate
from ..levels import NoiseLevel
from .base import rho
from .multistep import Levels, Multistep, check_points
from .polynomials import gauss, match


@dataclass(frozen=True)
class ERSDE(Multistep):
    r"""x'/alpha' = (phi'/phi) x/alpha + (1 - phi'/phi) D_0 + terms in D's slope + sqrt(rho'^2 - rho^2 (phi'/phi)^2) z.

    rho = sigma / alpha and phi(rho) = rho (exp(rho^0.3) + 10). x0 is the polynomial in rho through the last `points`
    predictions, integrated over phi by Gaussian quadrature; the paper's third order uses backward differences for the
    derivatives of that polynomial.

    Source: Cui et al. 2023, algorithms 1 to 3 and ER-SDE 5, https://arxiv.org/abs/2309.06169

    Args:
        points: number of predictions combined, 1 to 3.
    """

    points: int = 3
    coordinate = DataCoordinate()

    def __post_init__(self) -> None:
        check_points(self, 3)

    @property
    def order(self) -> int | None:
        return None

    @property
    def weak_order(self) -> int | None:
        return min(self.points, 2)

    def variance(self, now: NoiseLevel, next: NoiseLevel) -> float:
        r = _growth(rho(next)) / _growth(rho(now))
        return 0.0 if next.clean else float(next.sigma) ** 2 * max(1.0 - r**2, 0.0)

    def weights(self, now: NoiseLevel, next: NoiseLevel, others: Levels) -> tuple[float, ...]:
        start, stop = rho(now), rho(next)
        nodes = [rho(level) - start for level in others if level.alpha]
        if next.clean or not nodes:
            return ()
        step, width = stop - start, math.log(start / stop)
        inner = [(stop * math.exp(u * width), w * width) for u, w in gauss()]
        moments = []
        for k in range(1, len(nodes) + 1):
            # phi(rho') times the integral of s^(k-1) / phi over rho from rho' to rho, as one over log rho
            mean = sum(w * (at - start) ** (k - 1) / _growth(at) for at, w in inner)
            moments.append(float(next.alpha) * (step**k + k * stop * _growth(stop) * mean))
        return match(nodes, moments)


def _growth(ratio: float) -> float:
    """phi(rho) / rho."""
    return math.exp(ratio**0.3) + 10.0 if ratio < 1e9 else math.inf
