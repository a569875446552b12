"""Prediction targets: the quantity that the network predicts, as two coefficients on (x0, eps) at each level.

With x = alpha x0 + sigma eps and value = a x0 + b eps, Cramer's rule recovers x0 and eps wherever the determinant
det = alpha b - sigma a is nonzero. An error e in the value is an error sigma e / det in x0.
"""

import abc
from dataclasses import dataclass

from mezzotint.finite import Finite

from .levels import NoiseLevel
from .scalar_ops import Number


class Target(metaclass=Finite):
    """A prediction target: value = a x0 + b eps."""

    @abc.abstractmethod
    def coefficients(self, level: NoiseLevel) -> tuple[Number, Number]:
        """Return a (on x0) and b (on eps); constants are plain floats."""

    def determinant(self, level: NoiseLevel) -> Number:
        """Return alpha b - sigma a; zero where value and x do not determine x0 and eps."""
        a, b = self.coefficients(level)
        return level.alpha * b - level.sigma * a

    def weight(self, level: NoiseLevel) -> Number:
        """Return (det / sigma)^2, the weight on the squared x0 error that a squared error of the value implies."""
        return (self.determinant(level) / level.sigma) ** 2


@dataclass(frozen=True)
class Epsilon(Target):
    """The noise, eps. Source: Ho et al. 2020, eq. 12, https://arxiv.org/abs/2006.11239"""

    def coefficients(self, level: NoiseLevel) -> tuple[Number, Number]:
        return 0.0, 1.0


@dataclass(frozen=True)
class Clean(Target):
    """The data, x0. Source: Ho et al. 2020, sec. 3.2, https://arxiv.org/abs/2006.11239"""

    def coefficients(self, level: NoiseLevel) -> tuple[Number, Number]:
        return 1.0, 0.0


@dataclass(frozen=True)
class Velocity(Target):
    """v = alpha eps - sigma x0. Source: Salimans and Ho 2022, app. D, https://arxiv.org/abs/2202.00512"""

    def coefficients(self, level: NoiseLevel) -> tuple[Number, Number]:
        return -level.sigma, level.alpha


@dataclass(frozen=True)
class Score(Target):
    """grad log q(x_t | x0) = -eps / sigma. Source: Song et al. 2021, eq. 7, https://arxiv.org/abs/2011.13456"""

    def coefficients(self, level: NoiseLevel) -> tuple[Number, Number]:
        return 0.0, -1.0 / level.sigma


@dataclass(frozen=True)
class Flow(Target):
    """u = eps - x0, the velocity of the straight path. Source: Lipman et al. 2023, https://arxiv.org/abs/2210.02747

    Time runs from data (0) to noise (1) here; flow-matching papers with the opposite direction have the opposite sign.
    """

    def coefficients(self, level: NoiseLevel) -> tuple[Number, Number]:
        return -1.0, 1.0


@dataclass(frozen=True)
class Preconditioned(Target):
    r"""EDM's F in D = c_skip x + c_out F, for any alpha: value = (x0 - c_skip x) / c_out.

    c_skip = alpha s_d^2 / v and c_out = sigma s_d / sqrt(v) with v = alpha^2 s_d^2 + sigma^2, hence
    value = (sigma x0 / s_d - alpha s_d eps) / sqrt(v), which is regular at alpha = 0 and at sigma = 0.

    Source: Karras et al. 2022, table 1 and app. B.6, https://arxiv.org/abs/2206.00364

    Args:
        sigma_data: s_d, standard deviation of the data.
    """

    positive = ("sigma_data",)

    sigma_data: float = 0.5

    def coefficients(self, level: NoiseLevel) -> tuple[Number, Number]:
        root = ((level.alpha * self.sigma_data) ** 2 + level.sigma**2) ** 0.5
        return level.sigma / (self.sigma_data * root), -level.alpha * self.sigma_data / root
