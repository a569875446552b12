"""Time distributions defined by the quantiles of log(sigma / alpha)."""

import abc
import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ...levels import NoiseLevel
from ...schedules.continuous import Schedule
from .base import TimeDistribution


class LogRatioTimes(TimeDistribution):
    """A distribution of log(sigma / alpha), defined by its quantiles and truncated to the schedule's range.

    The density in t is 1 / (dt / du), so a subclass only defines the quantiles. On a table each entry has the
    probability of the interval that is closer to it than to its neighbours.
    """

    @abc.abstractmethod
    def log_ratio(self, u: Tensor) -> Tensor:
        """Return the u-quantile of log(sigma / alpha), increasing and differentiable in u."""

    def __call__(self, u: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor]:
        if schedule.steps:
            bounds = _bounds(self, schedule).to(u.device)
            t = torch.searchsorted(bounds[1:-1], u, right=True) + 1
            return t, (bounds[t] - bounds[t - 1]).log()
        with torch.inference_mode(False), torch.enable_grad():
            v = u.detach().clone().requires_grad_()
            t = self._time(v, schedule)
            (slope,) = torch.autograd.grad(t.sum(), v)
        return t.detach(), -slope.log()

    def at(self, u: Tensor, schedule: Schedule) -> Tensor:
        return self(u, schedule)[0] if schedule.steps else self._time(u, schedule)

    def _time(self, u: Tensor, schedule: Schedule) -> Tensor:
        """Return t on a continuous schedule, differentiable in u."""
        ratio = self.log_ratio(u * _share(self, schedule)).exp()
        return torch.as_tensor(schedule.time(NoiseLevel(torch.ones_like(ratio), ratio)))

    def share_below(self, log_ratio: Tensor) -> Tensor:
        """Return the distribution function at log(sigma / alpha), by bisection of the quantiles."""
        low, high = torch.zeros_like(log_ratio), torch.ones_like(log_ratio)
        for _ in range(60):
            middle = 0.5 * (low + high)
            below = self.log_ratio(middle) < log_ratio
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return high


def _share(times: LogRatioTimes, schedule: Schedule) -> float:
    """Return the probability mass below the schedule's last level."""
    return _last_share(times, float(schedule.level(schedule.t_max).ratio))


@lru_cache(maxsize=64)
def _last_share(times: LogRatioTimes, ratio: float) -> float:
    return 1.0 if ratio == math.inf else float(times.share_below(torch.tensor([math.log(ratio)], dtype=torch.float64)))


@lru_cache(maxsize=64)
def _bounds(times: LogRatioTimes, schedule: Schedule) -> Tensor:
    """Return the distribution function half-way between neighbouring entries, (steps + 1,) float64 from 0 to 1."""
    assert schedule.steps is not None, "a table"
    y = -0.5 * torch.as_tensor(schedule.level(torch.arange(1, schedule.steps + 1)).log_snr)
    edges = y.new_tensor([0.0, 1.0])
    inside = times.share_below(0.5 * (y[1:] + y[:-1]))
    return torch.cat([edges[:1], inside, edges[1:]])


@dataclass(frozen=True)
class LogNormalTimes(LogRatioTimes):
    """log(sigma / alpha) ~ N(mean, std^2). Source: Karras et al. 2022, table 1, https://arxiv.org/abs/2206.00364

    On `RectifiedFlowSchedule`, where log(sigma / alpha) = logit t, this is the logit-normal distribution of t;
    mean 0 and std 1 in Esser et al. 2024, eq. 19, https://arxiv.org/abs/2403.03206
    """

    positive = ("std",)

    mean: float = -1.2
    std: float = 1.2

    def log_ratio(self, u: Tensor) -> Tensor:
        return self.mean + self.std * torch.special.ndtri(u)


@dataclass(frozen=True)
class LaplaceTimes(LogRatioTimes):
    """log-SNR ~ Laplace(mean, scale). Source: Hang et al. 2024, table 1, https://arxiv.org/abs/2407.03297"""

    positive = ("scale",)

    mean: float = 0.0
    scale: float = 0.5

    def log_ratio(self, u: Tensor) -> Tensor:
        from_middle = u - 0.5
        return -0.5 * (self.mean + self.scale * from_middle.sign() * torch.log1p(-2.0 * from_middle.abs()))


@dataclass(frozen=True)
class LogLogisticTimes(LogRatioTimes):
    """log(sigma / alpha) ~ Logistic(mean, scale). Source: Crowson et al. 2024 (code), https://arxiv.org/abs/2401.11605"""

    positive = ("scale",)

    mean: float = 0.0
    scale: float = 1.0

    def log_ratio(self, u: Tensor) -> Tensor:
        return self.mean + self.scale * torch.logit(u)


@dataclass(frozen=True)
class SplitLogNormalTimes(LogRatioTimes):
    """log(sigma / alpha) normal on both sides of its mode, with one std per side. Source: Crowson et al. 2024 (code)

    Args:
        mode: the mode of log(sigma / alpha).
        below, above: standard deviations on the two sides.
    """

    positive = ("below", "above")

    mode: float = -1.2
    below: float = 1.2
    above: float = 1.2

    def log_ratio(self, u: Tensor) -> Tensor:
        total = self.below + self.above
        # each half is clamped to its side, so that the other one's gradient stays finite
        left = torch.special.ndtri((0.5 * u * total / self.below).clamp(max=0.5))
        right = torch.special.ndtri((1.0 - 0.5 * (1.0 - u) * total / self.above).clamp(min=0.5))
        return self.mode + self.below * left + self.above * right


@dataclass(frozen=True)
class CosineInterpolatedTimes(LogRatioTimes):
    """log-SNR(u) between two shifted cosine schedules, of a low resolution at u = 0 and a high one at u = 1.

    Source: Hoogeboom et al. 2023, sec. 3.1, https://arxiv.org/abs/2301.11093

    Args:
        size: side of the images in pixels.
        low, high: the resolutions of the two schedules.
        log_snr_max: log-SNR at u = 0, and its negative at u = 1.
    """

    positive = ("size", "low", "high")

    size: int = 64
    low: int = 32
    high: int = 64
    log_snr_max: float = 15.0

    def log_ratio(self, u: Tensor) -> Tensor:
        return -0.5 * torch.lerp(self._shifted(u, self.low), self._shifted(u, self.high), u)

    def _shifted(self, u: Tensor, noise_size: int) -> Tensor:
        shift = 2.0 * math.log(noise_size / self.size)
        first = math.atan(math.exp(-0.5 * (self.log_snr_max - shift)))
        last = math.atan(math.exp(0.5 * (self.log_snr_max + shift)))
        return shift - 2.0 * torch.tan(first + u * (last - first)).log()
