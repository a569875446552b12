"""Variances of the reverse step p(x_s | x_t), s cleaner than t: fixed small, fixed large, and learned in between."""

import abc
from dataclasses import dataclass
from typing import ClassVar

import torch

from mezzotint.finite import Finite

from .gaussian import posterior, transition
from .levels import NoiseLevel, broadcast_like
from .prediction import Prediction
from .scalar_ops import Number, exp, log


class Variance(metaclass=Finite):
    """variance(s, t, prediction at t): a number, or a tensor shaped like x; zero where s is clean.

    Attributes:
        learned: it depends on the network's prediction.
    """

    learned: ClassVar[bool] = True

    @abc.abstractmethod
    def between(self, small: Number, large: Number, pred: Prediction) -> Number:
        """Return the variance, given those of q(x_s | x_t, x0) and q(x_t | x_s), both positive."""

    def __call__(self, s: NoiseLevel, t: NoiseLevel, pred: Prediction) -> Number:
        if not s.batched:
            return 0.0 if s.clean else self.between(posterior(s, t)[2], transition(s, t)[1], pred)
        clean, large = torch.as_tensor(s.clean), torch.as_tensor(transition(s, t)[1])
        small = torch.where(clean, large, posterior(s, t)[2])  # log 0 has no finite gradient
        variance = torch.as_tensor(self.between(small, large, pred))
        return torch.where(torch.as_tensor(broadcast_like(clean, variance)).bool(), 0.0, variance)


@dataclass(frozen=True)
class PosteriorVariance(Variance):
    """Fixed small: the variance of q(x_s | x_t, x0). Source: Ho et al. 2020, eq. 7, https://arxiv.org/abs/2006.11239"""

    learned = False

    def between(self, small: Number, large: Number, pred: Prediction) -> Number:
        return small


@dataclass(frozen=True)
class TransitionVariance(Variance):
    """Fixed large: the variance of q(x_t | x_s), which is beta_t for neighbours.

    Source: Ho et al. 2020, sec. 3.2, https://arxiv.org/abs/2006.11239
    """

    learned = False

    def between(self, small: Number, large: Number, pred: Prediction) -> Number:
        return large


@dataclass(frozen=True)
class LearnedRangeVariance(Variance):
    """exp(f log large + (1 - f) log small) with the network's fraction f, for any pair of levels.

    Source: Nichol and Dhariwal 2021, eq. 15, https://arxiv.org/abs/2102.09672
    """

    def between(self, small: Number, large: Number, pred: Prediction) -> Number:
        f = pred.fraction
        if f is None:
            raise ValueError(
                "variance=LearnedRangeVariance needs a network with two outputs per channel, and this one has "
                "one. Build the network with a learned variance, or use variance=PosteriorVariance or "
                "variance=TransitionVariance."
            )
        return exp(f * broadcast_like(log(large), f) + (1.0 - f) * broadcast_like(log(small), f))
