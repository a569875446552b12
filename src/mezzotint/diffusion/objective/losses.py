"""Losses: the error of the network's output against the target, per example."""

import abc
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from mezzotint.finite import Finite

from ..levels import cast_like
from ..likelihood import chain_term
from ..prediction import Prediction
from ..variances import LearnedRangeVariance, PosteriorVariance, Variance
from .times import SampledTimes


class Loss(metaclass=Finite):
    """loss(value, target): the error per example, (B,), for value and target (B, C, H, W).

    Attributes:
        images_only: it needs a height and a width.
    """

    images_only: ClassVar[bool] = False

    @property
    def trains_variance(self) -> bool:
        """True if the loss trains the second output for each channel, the variance; a bound may do so."""
        return type(self).bound is not Loss.bound

    @abc.abstractmethod
    def __call__(self, value: Tensor, target: Tensor) -> Tensor: ...

    def bound(self, prediction: Prediction, x0: Tensor, times: SampledTimes) -> Tensor | None:
        """Return an additional unweighted term, (B,), or None."""
        return None


@dataclass(frozen=True)
class SquaredErrorLoss(Loss):
    """Mean over the elements of (value - target)^2."""

    def __call__(self, value: Tensor, target: Tensor) -> Tensor:
        return (value - target).square().flatten(1).mean(1)


@dataclass(frozen=True)
class HuberLoss(Loss):
    """Mean over the elements of e^2 / 2 for |e| < delta, delta (|e| - delta / 2) beyond.

    Source: Huber 1964, https://doi.org/10.1214/aoms/1177703732

    Args:
        delta: where the loss becomes linear.
    """

    positive = ("delta",)

    delta: float = 1.0

    def __call__(self, value: Tensor, target: Tensor) -> Tensor:
        return F.huber_loss(value, target, reduction="none", delta=self.delta).flatten(1).mean(1)


@dataclass(frozen=True)
class PseudoHuberLoss(Loss):
    """sqrt(|e|^2 + c^2) - c per example, c = scale sqrt(D). Source: Song and Dhariwal 2023, eq. 9, https://arxiv.org/abs/2310.14189

    Args:
        scale: c per square root of the dimension; the paper uses 0.00054.
    """

    positive = ("scale",)

    scale: float = 0.00054

    def __call__(self, value: Tensor, target: Tensor) -> Tensor:
        error = (value - target).flatten(1)
        c = self.scale * math.sqrt(error.shape[1])
        return (error.square().sum(1) + c * c).sqrt() - c


@dataclass(frozen=True)
class AdaptiveLoss(Loss):
    """|e|^2 / (|e|^2 + c)^power per example, the denominator without gradient: large errors count less.

    Source: Geng et al. 2025, sec. 4.3, https://arxiv.org/abs/2505.13447, after Geng et al. 2024

    Args:
        power: 0 is the squared error; the paper uses 1, and 0.75 for CIFAR-10.
        offset: c; keeps the weight finite.
    """

    positive = ("offset",)
    natural = ("power",)

    power: float = 1.0
    offset: float = 0.001

    def __call__(self, value: Tensor, target: Tensor) -> Tensor:
        error = (value - target).square().flatten(1).sum(1)
        return error / (error.detach() + self.offset) ** self.power


@dataclass(frozen=True)
class MultiScaleLoss(Loss):
    """Squared error of the discrete cosine transform, weighted by -log2 of the frequency, at most `scales`.

    Equivalent to a sum of losses over successively downsampled images.

    Source: Crowson et al. 2024 (code), after Hoogeboom et al. 2023, sec. 3.3, https://arxiv.org/abs/2301.11093

    Args:
        scales: number of scales; 1 is the squared error.
    """

    images_only = True

    scales: float = 4.0

    def __call__(self, value: Tensor, target: Tensor) -> Tensor:
        error = value - target
        rows, columns = (cast_like(_cosines(n), error) for n in error.shape[-2:])
        weights = torch.minimum(self._weights(error.shape[-2])[:, None], self._weights(error.shape[-1]))
        return ((rows @ error @ columns.T).square() * cast_like(weights, error)).flatten(1).mean(1)

    def _weights(self, n: int) -> Tensor:
        return (-torch.log2(torch.linspace(0.5 / n, 0.5, n, dtype=torch.float64))).clamp(max=self.scales)


@lru_cache(maxsize=16)
def _cosines(n: int) -> Tensor:
    """Return the orthonormal discrete cosine transform of length n, (n, n)."""
    with torch.inference_mode(False):
        k = torch.arange(n, dtype=torch.float64)
        matrix = torch.cos(math.pi / n * (k + 0.5) * k[:, None]) * math.sqrt(2.0 / n)
        matrix[0] /= math.sqrt(2.0)
        return matrix


@dataclass(frozen=True)
class HybridLoss(Loss):
    """L_simple + coefficient L_vlb in bits per dimension, L_vlb whose mean is detached: it trains the variance.

    Source: Nichol and Dhariwal 2021, eq. 16, https://arxiv.org/abs/2102.09672

    Args:
        loss: L_simple.
        coefficient: the paper uses 0.001.
        variance: the learned variance.
    """

    natural = ("coefficient",)

    loss: Loss = SquaredErrorLoss()
    coefficient: float = 0.001
    variance: Variance = LearnedRangeVariance()

    @property
    def trains_variance(self) -> bool:
        return self.variance.learned

    def __call__(self, value: Tensor, target: Tensor) -> Tensor:
        return self.loss(value, target)

    def bound(self, prediction: Prediction, x0: Tensor, times: SampledTimes) -> Tensor:
        return self.coefficient * _bound(prediction.detach(), x0, times, self.variance)


@dataclass(frozen=True)
class VariationalLoss(Loss):
    """L_vlb in bits per dimension, without the constant prior term; unweighted.

    Source: Ho et al. 2020, eq. 5, https://arxiv.org/abs/2006.11239

    Args:
        variance: of p(x_s | x_t); LearnedRangeVariance learns it.
    """

    variance: Variance = PosteriorVariance()

    @property
    def trains_variance(self) -> bool:
        return self.variance.learned

    def __call__(self, value: Tensor, target: Tensor) -> Tensor:
        return value.new_zeros(len(value))

    def bound(self, prediction: Prediction, x0: Tensor, times: SampledTimes) -> Tensor:
        return _bound(prediction, x0, times, self.variance)


def _bound(prediction: Prediction, x0: Tensor, times: SampledTimes, variance: Variance) -> Tensor:
    """Return an unbiased estimate of the sum over the chain from one t: the term times steps p_uniform(t) / p(t)."""
    term = chain_term(prediction, x0, times.t, times.schedule, variance)
    return term * ((times.schedule.steps or 1000) * cast_like(times.importance(), term))
