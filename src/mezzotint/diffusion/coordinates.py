"""Coordinates in which the probability-flow ODE is solved.

Along the ODE, x = alpha x0 + sigma eps with x0 and eps the denoiser's prediction at x, and dx = x0 dalpha + eps dsigma.
Divided by a positive function m of the level, y = x / m obeys dy/du = p x0 + q eps with u a monotone function of
sigma / alpha and (p, q) the direction of the coordinate. The solution is the same in all of them; its curvature, and
the end of the process that lies at infinity, are not.

Source: Song et al. 2021 (DDIM), eq. 14, https://arxiv.org/abs/2010.02502, and Karras et al. 2022, eq. 4,
https://arxiv.org/abs/2206.00364, in the notation above.
"""

import abc
import math
from dataclasses import dataclass

from torch import Tensor

from .levels import NoiseLevel
from .prediction import Prediction


class Coordinate(abc.ABC):
    """y = x / m as a function of u: `of` returns (m, u), `level` the level with m = 1, `direction` (p, q) of dy/du."""

    @property
    def bounded(self) -> bool:
        """True if u is finite at both ends, pure noise and clean data."""
        return False

    @abc.abstractmethod
    def of(self, level: NoiseLevel) -> tuple[float, float]:
        """Return (m, u) of a level; (0, inf) at an end that lies at infinity."""

    @abc.abstractmethod
    def level(self, u: float) -> NoiseLevel:
        """Return the level at u in the frame with m = 1."""

    @abc.abstractmethod
    def direction(self, level: NoiseLevel) -> tuple[float, float]:
        """Return (p, q) with dy/du = p x0 + q eps."""

    def field(self, pred: Prediction) -> Tensor:
        """Return dy/du at the prediction's level."""
        return pred.mix(*self.direction(pred.level))


@dataclass(frozen=True)
class NoiseCoordinate(Coordinate):
    """m = alpha, u = sigma / alpha, dy/du = eps: the variance-exploding frame. Pure noise is at infinity."""

    def of(self, level: NoiseLevel) -> tuple[float, float]:
        return float(level.alpha), float(level.ratio)

    def level(self, u: float) -> NoiseLevel:
        return NoiseLevel(1.0, u)

    def direction(self, level: NoiseLevel) -> tuple[float, float]:
        return 0.0, 1.0

    def field(self, pred: Prediction) -> Tensor:
        return pred.eps


@dataclass(frozen=True)
class DataCoordinate(Coordinate):
    """m = sigma, u = alpha / sigma, dy/du = x0: the frame of constant noise. Clean data are at infinity."""

    def of(self, level: NoiseLevel) -> tuple[float, float]:
        return float(level.sigma), math.inf if level.clean else float(level.alpha / level.sigma)

    def level(self, u: float) -> NoiseLevel:
        return NoiseLevel(u, 1.0)

    def direction(self, level: NoiseLevel) -> tuple[float, float]:
        return 1.0, 0.0

    def field(self, pred: Prediction) -> Tensor:
        return pred.x0


@dataclass(frozen=True)
class FlowCoordinate(Coordinate):
    """m = alpha + sigma, u = sigma / m, dy/du = eps - x0: the straight path of flow matching. Regular at both ends."""

    @property
    def bounded(self) -> bool:
        return True

    def of(self, level: NoiseLevel) -> tuple[float, float]:
        m = float(level.alpha + level.sigma)
        return m, float(level.sigma) / m

    def level(self, u: float) -> NoiseLevel:
        return NoiseLevel(1.0 - u, u)

    def direction(self, level: NoiseLevel) -> tuple[float, float]:
        return -1.0, 1.0


@dataclass(frozen=True)
class AngleCoordinate(Coordinate):
    """m = sqrt(alpha^2 + sigma^2), u = atan(sigma / alpha), dy/du = cos(u) eps - sin(u) x0: v of the
    variance-preserving frame. Regular at both ends.

    Source: Salimans and Ho 2022, app. D, https://arxiv.org/abs/2202.00512
    """

    @property
    def bounded(self) -> bool:
        return True

    def of(self, level: NoiseLevel) -> tuple[float, float]:
        return float(level.norm), math.atan2(level.sigma, level.alpha)

    def level(self, u: float) -> NoiseLevel:
        return NoiseLevel(0.0 if u >= math.pi / 2 else math.cos(u), math.sin(u))

    def direction(self, level: NoiseLevel) -> tuple[float, float]:
        m = float(level.norm)
        return -float(level.sigma) / m, float(level.alpha) / m
