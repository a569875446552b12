"""Scales: the factor on x before a network sees it."""

import abc
from dataclasses import dataclass

from mezzotint.finite import Finite

from .elementary import Number
from .levels import NoiseLevel


class Scale(metaclass=Finite):
    """The factor on x before the network sees it."""

    @abc.abstractmethod
    def __call__(self, level: NoiseLevel) -> Number: ...


@dataclass(frozen=True)
class Unit(Scale):
    """x as it is."""

    def __call__(self, level: NoiseLevel) -> Number:
        return 1.0


@dataclass(frozen=True)
class UnitVariance(Scale):
    """c_in = 1 / sqrt(alpha^2 s_d^2 + sigma^2). Source: Karras et al. 2022, table 1, https://arxiv.org/abs/2206.00364

    Args:
        sigma_data: s_d, standard deviation of the data.
    """

    positive = ("sigma_data",)

    sigma_data: float = 0.5

    def __call__(self, level: NoiseLevel) -> Number:
        return ((level.alpha * self.sigma_data) ** 2 + level.sigma**2) ** -0.5
