"""Continuous schedules: level(t) and its inverse time(level), exact at both ends.

A schedule is a path of noise levels from clean (t = 0) to the noisiest (t = t_max), for a float t (sampling) or a
tensor of times (training). The schedules here are formulas in t; those of `beta_tables.py` are tables.
"""

import abc
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mezzotint.attributes import computed
from mezzotint.finite import Finite

from ..levels import NoiseLevel
from ..scalar_ops import Number, asinh, atan2, exp, expm1, log, log1p, maximum, minimum, ones_like, precise, sin, where


class Schedule(metaclass=Finite):
    """A path of noise levels from clean (t = 0) to the noisiest (t = t_max).

    `steps` is the number of noisy entries of a table, None for a continuous schedule.
    """

    steps: int | None = None

    @property
    def t_max(self) -> float:
        """The largest time, 1 by default."""
        return 1.0

    @property
    def learned(self) -> bool:
        """True for a schedule with parameters, whose levels change in training."""
        return isinstance(self, nn.Module)

    @abc.abstractmethod
    def level(self, t: Number) -> NoiseLevel:
        """Return the level at time t; for a tensor of times, of any dtype, in float64."""

    @abc.abstractmethod
    def time(self, level: NoiseLevel) -> Number:
        """Return the time with this ratio of noise to signal, in any frame, clamped to the noisy range."""

    def rate(self, t: Tensor) -> Tensor:
        """Return d log_snr / dt at times t (B,), negative."""
        with torch.inference_mode(False), torch.enable_grad():
            u = t.detach().double().clone().requires_grad_()
            log_snr = torch.as_tensor(self.level(u).log_snr)
            return torch.autograd.grad(log_snr.sum(), u, create_graph=self.learned)[0]

    def previous(self, t: Tensor, steps: int | None = None) -> Tensor:
        """Return the next cleaner time on a chain of `steps` equal steps (for a table, its entries), at least 0."""
        return (t - self.t_max / (steps or self.steps or 1000)).clamp(min=0)

    def prior_std(self, level: NoiseLevel) -> float:
        """Return the standard deviation of x at the start of sampling: sigma, or 1 in a variance-preserving frame."""
        return 1.0 if abs(float(level.norm) - 1.0) < 1e-6 else float(level.sigma)

    def __call__(self, t: Number) -> NoiseLevel:
        return self.level(t)


@dataclass(frozen=True)
class ContinuousCosineSchedule(Schedule):
    """alpha = cos(pi t / 2), sigma = sin(pi t / 2), t in [0, 1]; pure noise at t = 1, exactly.

    Source: Ho and Salimans 2021, https://arxiv.org/abs/2207.12598, without their truncation
    """

    def level(self, t: Number) -> NoiseLevel:
        t = precise(t)
        return NoiseLevel(sin((1.0 - t) * (math.pi / 2)), sin(t * (math.pi / 2)))

    def time(self, level: NoiseLevel) -> Number:
        return atan2(level.sigma, level.alpha) * (2.0 / math.pi)


@dataclass(frozen=True)
class VPSchedule(Schedule):
    """log alpha_bar = -beta_min t - (beta_max - beta_min) t^2 / 2, variance preserving, t in [0, 1].

    Source: Song et al. 2021, eq. 32, https://arxiv.org/abs/2011.13456

    Args:
        beta_min, beta_max: beta at t = 0 and t = 1.
    """

    positive = ("beta_max",)
    natural = ("beta_min",)

    beta_min: float = 0.1
    beta_max: float = 20.0

    def level(self, t: Number) -> NoiseLevel:
        c = _accumulated(self.beta_min, self.beta_max, t)
        return NoiseLevel(exp(-0.5 * c), (-expm1(-c)) ** 0.5)

    def time(self, level: NoiseLevel) -> Number:
        return _time_of_accumulated(self.beta_min, self.beta_max, log1p(level.ratio**2))


@dataclass(frozen=True)
class SubVPSchedule(Schedule):
    """log alpha as in `VPSchedule`, but sigma = 1 - alpha^2: less noise than variance preserving at every t in (0, 1].

    Source: Song et al. 2021, eq. 29, https://arxiv.org/abs/2011.13456

    Args:
        beta_min, beta_max: beta at t = 0 and t = 1.
    """

    positive = ("beta_max",)
    natural = ("beta_min",)

    beta_min: float = 0.1
    beta_max: float = 20.0

    def level(self, t: Number) -> NoiseLevel:
        c = _accumulated(self.beta_min, self.beta_max, t)
        return NoiseLevel(exp(-0.5 * c), -expm1(-c))

    def time(self, level: NoiseLevel) -> Number:
        # sigma / alpha = 2 sinh(c / 2)
        return _time_of_accumulated(self.beta_min, self.beta_max, 2.0 * asinh(0.5 * level.ratio))


def _accumulated(beta_min: float, beta_max: float, t: Number) -> Number:
    """Return c(t), the integral of beta from 0 to t."""
    t = precise(t)
    return (beta_min + 0.5 * (beta_max - beta_min) * t) * t


def _time_of_accumulated(beta_min: float, beta_max: float, c: Number) -> Number:
    """Return t in [0, 1] with c(t) = c, by the root of the quadratic in the form that is accurate for small c."""
    b, d = beta_min, beta_max - beta_min
    c = minimum(c, b + 0.5 * d)
    return 2.0 * c / (b + (b * b + 2.0 * d * c) ** 0.5)


@dataclass(frozen=True)
class EDMSchedule(Schedule):
    """alpha = 1, sigma = t: variance exploding, and time is the noise level itself.

    Source: Karras et al. 2022, table 1, https://arxiv.org/abs/2206.00364

    Args:
        sigma_max: the level where sampling starts. `time` maps pure noise to it; higher finite levels are kept.
    """

    positive = ("sigma_max",)

    sigma_max: float = 80.0

    @property
    def t_max(self) -> float:
        return float(self.sigma_max)

    def level(self, t: Number) -> NoiseLevel:
        t = precise(t)
        return NoiseLevel(ones_like(t), t)

    def time(self, level: NoiseLevel) -> Number:
        ratio = level.ratio
        return where(ratio < math.inf, ratio, self.t_max)


@dataclass(frozen=True)
class RectifiedFlowSchedule(Schedule):
    """alpha = 1 - u, sigma = u, u = k t / (1 + (k - 1) t), t in [0, 1]: the straight path from data to noise.

    Source: Liu et al. 2023, https://arxiv.org/abs/2209.03003; Lipman et al. 2023, https://arxiv.org/abs/2210.02747; the
    shift: Esser et al. 2024, eq. 23, https://arxiv.org/abs/2403.03206

    Args:
        shift: k; lowers the log-SNR by 2 ln k at every t, as larger images need. 1 is no shift.
    """

    positive = ("shift",)

    shift: float = 1.0

    def level(self, t: Number) -> NoiseLevel:
        t = precise(t)
        rest, shifted = 1.0 - t, self.shift * t
        return NoiseLevel(rest / (rest + shifted), shifted / (rest + shifted))

    def time(self, level: NoiseLevel) -> Number:
        return level.sigma / (self.shift * level.alpha + level.sigma)


@dataclass(frozen=True)
class TrigFlowSchedule(Schedule):
    """alpha = cos t, sigma = sigma_data sin t, t in [0, pi / 2]: x has the data's standard deviation at every t.

    Source: Lu and Song 2024, sec. 3, https://arxiv.org/abs/2410.11081

    Args:
        sigma_data: standard deviation of the data.
    """

    positive = ("sigma_data",)

    sigma_data: float = 0.5

    @property
    def t_max(self) -> float:
        return math.pi / 2

    def level(self, t: Number) -> NoiseLevel:
        t = minimum(precise(t), self.t_max)  # float32 rounds pi / 2 up
        return NoiseLevel(sin(math.pi / 2 - t), self.sigma_data * sin(t))

    def time(self, level: NoiseLevel) -> Number:
        return atan2(level.sigma / self.sigma_data, level.alpha)


@dataclass(frozen=True)
class LaplaceSchedule(Schedule):
    """log-SNR = mean + scale s log(2 min(t, 1 - t)), s = -1 for t < 1/2, else 1: Laplace quantiles, t in [0, 1].

    Variance preserving. Under uniform times the log-SNR has a Laplace distribution.

    Source: Hang et al. 2024, table 1, https://arxiv.org/abs/2407.03297

    Args:
        mean: log-SNR at t = 1/2.
        scale: b; the paper uses 0.5.
    """

    positive = ("scale",)

    mean: float = 0.0
    scale: float = 0.5

    def level(self, t: Number) -> NoiseLevel:
        t = precise(t)
        deviation = where(t < 0.5, -log(2.0 * t), log(2.0 * (1.0 - t)))
        return NoiseLevel.from_log_snr(self.mean + self.scale * deviation)

    def time(self, level: NoiseLevel) -> Number:
        v = (level.log_snr - self.mean) / self.scale
        return where(v > 0, 0.5 * exp(-maximum(v, 0.0)), 1.0 - 0.5 * exp(minimum(v, 0.0)))


@dataclass(frozen=True)
class ShiftedSchedule(Schedule):
    """Another schedule with its log-SNR shifted by a constant, in the variance-preserving frame.

    Images of side d need a shift of 2 ln(64 / d) relative to 64; scaling the data by b is a shift of 2 ln b.

    Source: Hoogeboom et al. 2023, eq. 4, https://arxiv.org/abs/2301.11093; Chen 2023, sec. 2.2, https://arxiv.org/abs/2301.10972

    Args:
        schedule: the schedule to shift, continuous or a table.
        log_snr: the shift; negative is noisier.
    """

    schedule: Schedule
    log_snr: float

    def __post_init__(self) -> None:
        if self.schedule.learned:
            raise ValueError(
                f"{self.schedule} learns its log-SNR and cannot be shifted. Change its log_snr_max and log_snr_min."
            )

    @property
    def t_max(self) -> float:
        return self.schedule.t_max

    @computed
    def steps(self) -> int | None:
        return self.schedule.steps

    @property
    def _factor(self) -> float:
        return math.exp(-0.5 * self.log_snr)

    def level(self, t: Number) -> NoiseLevel:
        base = self.schedule.level(t)
        sigma = base.sigma * self._factor
        norm = (base.alpha**2 + sigma**2) ** 0.5
        return NoiseLevel(base.alpha / norm, sigma / norm)

    def time(self, level: NoiseLevel) -> Number:
        return self.schedule.time(NoiseLevel(level.alpha * self._factor, level.sigma))

    def rate(self, t: Tensor) -> Tensor:
        return self.schedule.rate(t)

    def previous(self, t: Tensor, steps: int | None = None) -> Tensor:
        return self.schedule.previous(t, steps)
