"""Variances of the reverse step p(x_s | x_t), s cleaner than t: fixed small, fixed large, and learned between them."""

import abc
from dataclasses import dataclass

from .elementary import Number, exp, log
from .gaussian import posterior, transition
from .levels import NoiseLevel, expand
from .prediction import Prediction


class Variance(abc.ABC):
    """variance(s, t, prediction at t): a number, or a tensor like x. Zero where s is clean."""

    @abc.abstractmethod
    def __call__(self, s: NoiseLevel, t: NoiseLevel, pred: Prediction) -> Number: ...


@dataclass(frozen=True)
class Posterior(Variance):
    """Fixed small: the variance of q(x_s | x_t, x0). Source: Ho et al. 2020, eq. 7, https://arxiv.org/abs/2006.11239"""

    def __call__(self, s: NoiseLevel, t: NoiseLevel, pred: Prediction) -> Number:
        return posterior(s, t)[2]


@dataclass(frozen=True)
class Transition(Variance):
    """Fixed large: the variance of q(x_t | x_s), beta_t for neighbours; nothing is added on the step to clean data.

    Source: Ho et al. 2020, sec. 3.2, https://arxiv.org/abs/2006.11239
    """

    def __call__(self, s: NoiseLevel, t: NoiseLevel, pred: Prediction) -> Number:
        return transition(s, t)[1] * (s.sigma != 0)


@dataclass(frozen=True)
class LearnedRange(Variance):
    """exp(f log large + (1 - f) log small) with the network's own fraction f. Any pair of levels, so respacing is free.

    Source: Nichol and Dhariwal 2021, eq. 15, https://arxiv.org/abs/2102.09672
    """

    def __call__(self, s: NoiseLevel, t: NoiseLevel, pred: Prediction) -> Number:
        f = pred.fraction
        if f is None:
            raise ValueError(
                "variance=LearnedRange needs a network that gives two outputs a channel, and this one gives one. "
                "Build the network with a learned variance, or use variance=Posterior or variance=Transition."
            )
        small = posterior(s, t)[2]
        if isinstance(small, float) and small == 0.0:
            return 0.0
        large = transition(s, t)[1]
        return exp(f * expand(log(large), f) + (1.0 - f) * expand(log(small), f))
