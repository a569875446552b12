"""Losses: how far the network's answer is from what it was asked, for each example."""

import abc
import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from mezzotint.instantiate.finite import Finite

from ..levels import cast_like
from ..likelihood import chain_term
from ..prediction import Prediction
from ..variances import LearnedRangeVariance, PosteriorVariance, Variance
from .times import SampledTimes


class Loss(metaclass=Finite):
    """loss(value, wanted): the error of each example, (B,)."""

    @abc.abstractmethod
    def __call__(self, value: Tensor, wanted: Tensor) -> Tensor: ...

    def bound(self, prediction: Prediction, x0: Tensor, drawn: SampledTimes) -> Tensor | None:
        """A further term, (B,), that no weight touches; most losses have none."""
        return None


@dataclass(frozen=True)
class SquaredErrorLoss(Loss):
    """Mean over the elements of (value - wanted)^2."""

    def __call__(self, value: Tensor, wanted: Tensor) -> Tensor:
        return (value - wanted).square().flatten(1).mean(1)


@dataclass(frozen=True)
class HuberLoss(Loss):
    """Mean over the elements of e^2 / 2 for |e| < delta, delta (|e| - delta / 2) beyond.

    Source: Huber 1964, https://doi.org/10.1214/aoms/1177703732

    Args:
        delta: where the square becomes a line.
    """

    positive = ("delta",)

    delta: float = 1.0

    def __call__(self, value: Tensor, wanted: Tensor) -> Tensor:
        return F.huber_loss(value, wanted, reduction="none", delta=self.delta).flatten(1).mean(1)


@dataclass(frozen=True)
class PseudoHuberLoss(Loss):
    """sqrt(|e|^2 + c^2) - c of the whole example, c = scale sqrt(D). Source: Song and Dhariwal 2023, eq. 9, https://arxiv.org/abs/2310.14189

    Args:
        scale: c for one dimension; the paper uses 0.00054.
    """

    positive = ("scale",)

    scale: float = 0.00054

    def __call__(self, value: Tensor, wanted: Tensor) -> Tensor:
        error = (value - wanted).flatten(1)
        c = self.scale * math.sqrt(error.shape[1])
        return (error.square().sum(1) + c * c).sqrt() - c


@dataclass(frozen=True)
class MultiScaleLoss(Loss):
    """Squared error of the cosine transform, low frequencies weighted by -log2 of the frequency, at most `scales`.

    Equal in effect to a sum of losses over successively halved images.

    Source: Crowson et al. 2024 (code), after Hoogeboom et al. 2023, sec. 3.3, https://arxiv.org/abs/2301.11093

    Args:
        scales: number of scales; 1 is the plain squared error.
    """

    scales: float = 4.0

    def __call__(self, value: Tensor, wanted: Tensor) -> Tensor:
        error = value - wanted
        rows, columns = (_cosines(n).to(error) for n in error.shape[-2:])
        weights = torch.minimum(self._weights(error.shape[-2])[:, None], self._weights(error.shape[-1]))
        return ((rows @ error @ columns.T).square() * weights.to(error)).flatten(1).mean(1)

    def _weights(self, n: int) -> Tensor:
        return (-torch.log2(torch.linspace(0.5 / n, 0.5, n, dtype=torch.float64))).clamp(max=self.scales)


@lru_cache(maxsize=16)
def _cosines(n: int) -> Tensor:
    """The orthonormal cosine transform of n numbers, (n, n)."""
    with torch.inference_mode(False):
        k = torch.arange(n, dtype=torch.float64)
        matrix = torch.cos(math.pi / n * (k + 0.5) * k[:, None]) * math.sqrt(2.0 / n)
        matrix[0] /= math.sqrt(2.0)
        return matrix


@dataclass(frozen=True)
class HybridLoss(Loss):
    """L_simple + coefficient L_vlb in bits per dimension, the mean of L_vlb detached: it teaches the variance alone.

    Source: Nichol and Dhariwal 2021, eq. 16, https://arxiv.org/abs/2102.09672

    Args:
        loss: L_simple.
        coefficient: the paper uses 0.001.
        variance: what is taught.
    """

    natural = ("coefficient",)

    loss: Loss = SquaredErrorLoss()
    coefficient: float = 0.001
    variance: Variance = LearnedRangeVariance()

    def __call__(self, value: Tensor, wanted: Tensor) -> Tensor:
        return self.loss(value, wanted)

    def bound(self, prediction: Prediction, x0: Tensor, drawn: SampledTimes) -> Tensor:
        return self.coefficient * _bound(prediction.detach(), x0, drawn, self.variance)


@dataclass(frozen=True)
class VariationalLoss(Loss):
    """L_vlb itself in bits per dimension, all of the sum over t but the prior's constant; no weight touches it.

    Source: Ho et al. 2020, eq. 5, https://arxiv.org/abs/2006.11239

    Args:
        variance: of p(x_s | x_t); LearnedRangeVariance learns it.
    """

    variance: Variance = PosteriorVariance()

    def __call__(self, value: Tensor, wanted: Tensor) -> Tensor:
        return value.new_zeros(len(value))

    def bound(self, prediction: Prediction, x0: Tensor, drawn: SampledTimes) -> Tensor:
        return _bound(prediction, x0, drawn, self.variance)


def _bound(prediction: Prediction, x0: Tensor, drawn: SampledTimes, variance: Variance) -> Tensor:
    """An unbiased estimate of the sum over the chain from one t: the term, times steps, over p(t) / p_uniform."""
    term = chain_term(prediction, x0, drawn.t, drawn.schedule, variance)
    return term * ((drawn.schedule.steps or 1000) * cast_like(drawn.importance(), term))
