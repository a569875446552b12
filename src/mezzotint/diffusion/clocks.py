"""Clocks: what number a network is told for a time of its schedule."""

import abc
from dataclasses import dataclass

from mezzotint.finite import Finite

from .elementary import Number, log
from .levels import NoiseLevel


class Clock(metaclass=Finite):
    """The number that the network is told for a time of its schedule."""

    @abc.abstractmethod
    def __call__(self, t: Number, level: NoiseLevel) -> Number: ...


@dataclass(frozen=True)
class Index(Clock):
    """t - 1: 0 for the first noisy step of a table, as in the DDPM code."""

    def __call__(self, t: Number, level: NoiseLevel) -> Number:
        return t - 1


@dataclass(frozen=True)
class Rescaled(Clock):
    """factor * t: with 1000 and t in [0, 1], what embeddings made for 1000 steps expect."""

    positive = ("factor",)

    factor: float = 1000.0

    def __call__(self, t: Number, level: NoiseLevel) -> Number:
        return t * self.factor


@dataclass(frozen=True)
class Native(Clock):
    """t as it is."""

    def __call__(self, t: Number, level: NoiseLevel) -> Number:
        return t


@dataclass(frozen=True)
class LogSigma(Clock):
    """c_noise = ln(sigma / alpha) / 4. Source: Karras et al. 2022, table 1, https://arxiv.org/abs/2206.00364"""

    def __call__(self, t: Number, level: NoiseLevel) -> Number:
        return 0.25 * log(level.ratio)


@dataclass(frozen=True)
class LogSnr(Clock):
    """log(alpha^2 / sigma^2). Source: Kingma et al. 2021, https://arxiv.org/abs/2107.00630"""

    def __call__(self, t: Number, level: NoiseLevel) -> Number:
        return level.log_snr
