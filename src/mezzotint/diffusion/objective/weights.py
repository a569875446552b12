"""Loss weights as functions of the noise level.

A weight is defined on the squared error of x0 and divided by the weight that the target implies (`Target.weight`), so
that it means the same for every target. Only `ConstantWeight` acts on the target's own error.
"""

import abc
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mezzotint.finite import Finite

from ..levels import NoiseLevel, broadcast_like, cast_like
from ..scalar_ops import Number, equals, exp, maximum, minimum, sigmoid
from ..targets import Target
from .times import SampledTimes


class LossWeight(metaclass=Finite):
    """weight(level, target, times): the factor on the squared error of the target, a number or (B,) float64."""

    @abc.abstractmethod
    def on_x0(self, level: NoiseLevel, times: SampledTimes) -> Number:
        """Return the factor on the squared error of x0."""

    def __call__(self, level: NoiseLevel, target: Target, times: SampledTimes) -> Number:
        return self.on_x0(level, times) / target.weight(level)

    def weighted(self, error: Tensor, level: NoiseLevel, target: Target, times: SampledTimes) -> Tensor:
        """Return the weighted errors, (B,)."""
        factor = self(level, target, times)
        return error if equals(factor, 1.0) else error * broadcast_like(factor, error)


def snr(level: NoiseLevel) -> Number:
    """Return alpha^2 / sigma^2."""
    return (level.alpha / level.sigma) ** 2


@dataclass(frozen=True)
class ConstantWeight(LossWeight):
    """Weight 1 on the target's error: L_simple for epsilon. Source: Ho et al. 2020, eq. 14, https://arxiv.org/abs/2006.11239"""

    def on_x0(self, level: NoiseLevel, times: SampledTimes) -> Number:
        raise ValueError(
            "loss_weight=constant is defined on the target's own error, not on x0. Call the weight instead."
        )

    def __call__(self, level: NoiseLevel, target: Target, times: SampledTimes) -> Number:
        return 1.0


@dataclass(frozen=True)
class SNRWeight(LossWeight):
    """w = SNR on x0, which is 1 on eps, for every target. Source: Salimans and Ho 2022, eq. 9, https://arxiv.org/abs/2202.00512"""

    def on_x0(self, level: NoiseLevel, times: SampledTimes) -> Number:
        return snr(level)


@dataclass(frozen=True)
class MinSNRWeight(LossWeight):
    """w = min(SNR, gamma) on x0. Source: Hang et al. 2023, eq. 8, https://arxiv.org/abs/2303.09556

    Args:
        gamma: upper bound of the weight; the paper uses 5.
    """

    gamma: float = 5.0

    def __post_init__(self) -> None:
        if not self.gamma > 0:
            raise ValueError(f"gamma={self.gamma:g} must be above 0, as the weight must be.")

    def on_x0(self, level: NoiseLevel, times: SampledTimes) -> Number:
        return minimum(snr(level), self.gamma)


@dataclass(frozen=True)
class SoftMinSNRWeight(LossWeight):
    """w = gamma SNR / (SNR + gamma) on x0. Source: Crowson et al. 2024, eq. 4, https://arxiv.org/abs/2401.11605

    Args:
        gamma: the limit of the weight; the paper uses 4, which is 1 / sigma_data^2 at sigma_data 0.5.
    """

    gamma: float = 4.0

    def __post_init__(self) -> None:
        if not self.gamma > 0:
            raise ValueError(f"gamma={self.gamma:g} must be above 0, as the weight must be.")

    def on_x0(self, level: NoiseLevel, times: SampledTimes) -> Number:
        return self.gamma * snr(level) / (snr(level) + self.gamma)


@dataclass(frozen=True)
class TruncatedSNRWeight(LossWeight):
    """w = max(SNR, 1) on x0. Source: Salimans and Ho 2022, eq. 10, https://arxiv.org/abs/2202.00512"""

    def on_x0(self, level: NoiseLevel, times: SampledTimes) -> Number:
        return maximum(snr(level), 1.0)


@dataclass(frozen=True)
class P2Weight(LossWeight):
    """w = (k + SNR)^-gamma on eps. Source: Choi et al. 2022, eq. 8, https://arxiv.org/abs/2204.00227

    Args:
        k: keeps the weight finite at pure noise.
        gamma: strength; the paper uses 0.5 and 1.
    """

    positive = ("k",)
    natural = ("gamma",)

    k: float = 1.0
    gamma: float = 1.0

    def on_x0(self, level: NoiseLevel, times: SampledTimes) -> Number:
        return snr(level) * (self.k + snr(level)) ** -self.gamma


@dataclass(frozen=True)
class EDMWeight(LossWeight):
    """w = SNR + 1 / s_d^2 on x0, that is (sigma^2 + s_d^2) / (sigma s_d)^2 at alpha = 1, and 1 on EDM's own target.

    Source: Karras et al. 2022, table 1, https://arxiv.org/abs/2206.00364

    Args:
        sigma_data: s_d, standard deviation of the data.
    """

    positive = ("sigma_data",)

    sigma_data: float = 0.5

    def on_x0(self, level: NoiseLevel, times: SampledTimes) -> Number:
        return snr(level) + self.sigma_data**-2


@dataclass(frozen=True)
class FlowWeight(LossWeight):
    """w = 1 / max(t, floor)^2 on x0 with t = sigma / (alpha + sigma), which is 1 on the flow target above the floor.

    A network that predicts x0 is trained with the loss of the velocity.

    Source: Li and He 2025, eq. 6 and table 1, https://arxiv.org/abs/2511.13720

    Args:
        floor: keeps the weight finite at low noise; the paper's code uses 0.05.
    """

    natural = ("floor",)

    floor: float = 0.0

    def on_x0(self, level: NoiseLevel, times: SampledTimes) -> Number:
        return maximum(level.sigma / (level.alpha + level.sigma), self.floor) ** -2


@dataclass(frozen=True)
class ELBOWeight(LossWeight):
    """The weight of the variational bound: 1/2 on eps, per unit of log-SNR, for any time distribution.

    The mean loss is then the diffusion term of the bound in nats per dimension, in the limit of many steps.

    Source: Kingma et al. 2021, eq. 18, https://arxiv.org/abs/2107.00630; Song et al. 2021, https://arxiv.org/abs/2101.09258
    """

    def on_x0(self, level: NoiseLevel, times: SampledTimes) -> Number:
        return 0.5 * snr(level) / times.log_snr_density()


@dataclass(frozen=True)
class SigmoidWeight(LossWeight):
    """sigmoid(bias - log-SNR) / 2 on eps, per unit of log-SNR, for any time distribution.

    Source: Kingma and Gao 2023, https://arxiv.org/abs/2303.00848; Hoogeboom et al. 2024, sec. 3, https://arxiv.org/abs/2410.19324

    Args:
        bias: shifts weight to lower noise; the second paper uses -3 at 512 pixels and less at higher resolution.
    """

    bias: float = 2.0

    def on_x0(self, level: NoiseLevel, times: SampledTimes) -> Number:
        return 0.5 * snr(level) * sigmoid(self.bias - level.log_snr) / times.log_snr_density()


@dataclass(frozen=True)
class ImportanceWeight(LossWeight):
    """Another weight times p_uniform(t) / p(t): the mean loss is that of uniform times, for any distribution.

    Args:
        weight: the weight under uniform times.
    """

    weight: LossWeight = ConstantWeight()

    def on_x0(self, level: NoiseLevel, times: SampledTimes) -> Number:
        return self.weight.on_x0(level, times) * times.importance()

    def __call__(self, level: NoiseLevel, target: Target, times: SampledTimes) -> Number:
        return self.weight(level, target, times) * times.importance()

    def weighted(self, error: Tensor, level: NoiseLevel, target: Target, times: SampledTimes) -> Tensor:
        return self.weight.weighted(error, level, target, times) * cast_like(times.importance(), error)


class UncertaintyWeight(nn.Module, LossWeight):
    """w / exp(u) error + u with u(level) learned, which normalises the error of every level to 1.

    u is a linear map of random Fourier features of ln(sigma / alpha) / 4, initially zero, and unused after training.

    Source: Karras et al. 2024, eq. 14 and app. B.3, https://arxiv.org/abs/2312.02696

    Args:
        weight: w.
        features: number of Fourier features.
    """

    positive = ("features",)

    frequencies: Tensor
    phases: Tensor

    def __init__(self, weight: LossWeight | None = None, features: int = 128):
        super().__init__()
        self.weight = EDMWeight() if weight is None else weight
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("frequencies", 2.0 * math.pi * torch.randn(features, generator=generator))
        self.register_buffer("phases", 2.0 * math.pi * torch.rand(features, generator=generator))
        self.linear = nn.Linear(features, 1, bias=False)
        nn.init.zeros_(self.linear.weight)  # starts as the unmodified weight

    def on_x0(self, level: NoiseLevel, times: SampledTimes) -> Number:
        return self.weight.on_x0(level, times)

    def __call__(self, level: NoiseLevel, target: Target, times: SampledTimes) -> Number:
        return self.weight(level, target, times)

    def log_variance(self, level: NoiseLevel) -> Tensor:
        """u, (B,) float32."""
        c_noise = cast_like(torch.as_tensor(-0.125 * level.log_snr), self.frequencies).clamp(-20.0, 20.0).reshape(-1, 1)
        return self.linear(2.0**0.5 * (c_noise * self.frequencies + self.phases).cos())[:, 0]

    def weighted(self, error: Tensor, level: NoiseLevel, target: Target, times: SampledTimes) -> Tensor:
        u = self.log_variance(level).to(error)
        return self.weight.weighted(error, level, target, times) * exp(-u) + u
