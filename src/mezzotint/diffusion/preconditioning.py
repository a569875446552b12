"""Preconditioning of the network's inputs: c_noise, its time input, and c_in, the factor on x."""

import abc
from dataclasses import dataclass

from mezzotint.finite import Finite

from .levels import NoiseLevel
from .scalar_ops import Number, log


class NoiseConditioning(metaclass=Finite):
    """c_noise: the network's time input as a function of t and the level."""

    @abc.abstractmethod
    def __call__(self, t: Number, level: NoiseLevel) -> Number: ...


@dataclass(frozen=True)
class StepIndex(NoiseConditioning):
    """c_noise = t - 1: 0 for the first noisy step of a table, as in the DDPM code."""

    def __call__(self, t: Number, level: NoiseLevel) -> Number:
        return t - 1


@dataclass(frozen=True)
class ScaledStepIndex(NoiseConditioning):
    """c_noise = factor (t - 1): 1/4 for 4,000 steps in a network that knows times up to 1,000, as in improved DDPM."""

    positive = ("factor",)

    factor: float = 0.25

    def __call__(self, t: Number, level: NoiseLevel) -> Number:
        return (t - 1) * self.factor


@dataclass(frozen=True)
class ScaledTime(NoiseConditioning):
    """c_noise = factor t: 1000 maps t in [0, 1] to the range of embeddings designed for 1000 steps."""

    positive = ("factor",)

    factor: float = 1000.0

    def __call__(self, t: Number, level: NoiseLevel) -> Number:
        return t * self.factor


@dataclass(frozen=True)
class RawTime(NoiseConditioning):
    """c_noise = t."""

    def __call__(self, t: Number, level: NoiseLevel) -> Number:
        return t


@dataclass(frozen=True)
class LogSigma(NoiseConditioning):
    """c_noise = ln(sigma / alpha) / 4. Source: Karras et al. 2022, table 1, https://arxiv.org/abs/2206.00364"""

    def __call__(self, t: Number, level: NoiseLevel) -> Number:
        return 0.25 * log(level.ratio)


@dataclass(frozen=True)
class LogSNR(NoiseConditioning):
    """c_noise = log(alpha^2 / sigma^2). Source: Kingma et al. 2021, https://arxiv.org/abs/2107.00630"""

    def __call__(self, t: Number, level: NoiseLevel) -> Number:
        return level.log_snr


class InputScale(metaclass=Finite):
    """c_in: the factor on the network's input x."""

    @abc.abstractmethod
    def __call__(self, level: NoiseLevel) -> Number: ...


@dataclass(frozen=True)
class NoScale(InputScale):
    """c_in = 1."""

    def __call__(self, level: NoiseLevel) -> Number:
        return 1.0


@dataclass(frozen=True)
class UnitVarianceScale(InputScale):
    """c_in = 1 / sqrt(alpha^2 s_d^2 + sigma^2). Source: Karras et al. 2022, table 1, https://arxiv.org/abs/2206.00364

    Args:
        sigma_data: s_d, standard deviation of the data.
    """

    positive = ("sigma_data",)

    sigma_data: float = 0.5

    def __call__(self, level: NoiseLevel) -> Number:
        return ((level.alpha * self.sigma_data) ** 2 + level.sigma**2) ** -0.5
