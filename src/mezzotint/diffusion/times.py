"""Time distributions: at which noise levels the network is trained, each with its density.

`t, log_density = times(u, schedule)` sends uniform numbers to times by the inverse of the distribution function. On a
table t is int64 in 1..steps and the density is a probability; on a continuous schedule it is a density in t.
"""

import abc
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from .draws import Draws
from .levels import NoiseLevel
from .schedules import Schedule


class Drawn:
    """The times of a batch, and how likely they were.

    Args:
        t: (B,), int64 on a table.
        log_density: (B,) float64, of t; or what works it out when a weight asks for it.
        schedule: whose times.
    """

    def __init__(self, t: Tensor, log_density: Tensor | Callable[[], Tensor], schedule: Schedule):
        self.t, self.schedule, self._log_density = t, schedule, log_density

    @property
    def log_density(self) -> Tensor:
        if not isinstance(self._log_density, Tensor):
            self._log_density = self._log_density()
        return self._log_density

    def log_snr_density(self) -> Tensor:
        """p(log-SNR) = p(t) / |d log_snr / dt|."""
        return self.log_density.exp() / self.schedule.rate(self.t).abs()

    def importance(self) -> Tensor:
        """What a uniform distribution of t would have, over p(t)."""
        return (-self.log_density).exp() / self.schedule.t_max


class Times(abc.ABC):
    """A distribution over the noisy times of a schedule."""

    @abc.abstractmethod
    def __call__(self, u: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor]:
        """u (B,) float64 uniform in (0, 1) -> t (B,), log density at t (B,) float64; t rises with u."""

    def uniforms(self, draws: Draws) -> Tensor:
        """The uniform numbers behind a batch, (B,) float64."""
        return draws.uniform("time")

    def drawn(self, draws: Draws, schedule: Schedule) -> Drawn:
        """The times of a named batch."""
        u = self.uniforms(draws)
        return Drawn(self.at(u, schedule), lambda: self(u, schedule)[1], schedule)

    def at(self, u: Tensor, schedule: Schedule) -> Tensor:
        """t alone, where the density costs more."""
        return self(u, schedule)[0]

    def observe(self, t: Tensor, losses: Tensor, schedule: Schedule) -> None:  # noqa: B027
        """Told the loss of each training example, its bound with it and unweighted; most distributions do not care."""


@dataclass(frozen=True)
class Uniform(Times):
    """All times alike. Source: Ho et al. 2020, alg. 1, https://arxiv.org/abs/2006.11239"""

    def __call__(self, u: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor]:
        if schedule.steps:
            t = (u * schedule.steps).long().clamp_(max=schedule.steps - 1) + 1
            return t, torch.full_like(u, -math.log(schedule.steps))
        return u * schedule.t_max, torch.full_like(u, -math.log(schedule.t_max))


@dataclass(frozen=True)
class Stratified(Times):
    """Any distribution, with example i of the run in stratum i mod `strata`: u = (i mod strata + u') / strata.

    The global index decides, so the whole batch is stratified over ranks and accumulation alike, for every batch size
    that is a multiple of `strata`. Each example for itself has the distribution of `times`.

    Args:
        times: the distribution.
        strata: number of equal parts; best a divisor of the global batch size.
    """

    times: Times = Uniform()
    strata: int = 64

    def __call__(self, u: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor]:
        return self.times(u, schedule)

    def at(self, u: Tensor, schedule: Schedule) -> Tensor:
        return self.times.at(u, schedule)

    def uniforms(self, draws: Draws) -> Tensor:
        return draws.stratified("time", self.strata)

    def observe(self, t: Tensor, losses: Tensor, schedule: Schedule) -> None:
        self.times.observe(t, losses, schedule)


@dataclass(frozen=True)
class LowDiscrepancy(Times):
    """Any distribution, along the golden-ratio sequence: u_i = frac(u_0 + i (sqrt 5 - 1) / 2), i the global index.

    Any run of consecutive examples covers (0, 1) evenly, whatever the batch size, over ranks and accumulation alike.
    u_0 is drawn once for the seed, so each example for itself has the distribution of `times`.

    Source: Kingma et al. 2021, app. I.1, for the idea (their u_i = frac(u_0 + i / B)), https://arxiv.org/abs/2107.00630

    Args:
        times: the distribution.
    """

    times: Times = Uniform()

    def __call__(self, u: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor]:
        return self.times(u, schedule)

    def at(self, u: Tensor, schedule: Schedule) -> Tensor:
        return self.times.at(u, schedule)

    def uniforms(self, draws: Draws) -> Tensor:
        start = Draws(draws.seed, torch.zeros(1, dtype=torch.int64)).uniform("time").to(draws.index.device)
        golden = int((math.sqrt(5.0) - 1.0) * 2**51)  # a fraction of 2^52, so that no digit is lost at any index
        turned = ((draws.index * golden) & (2**52 - 1)).double().add_(0.5).mul_(2.0**-52)
        return (turned + start).remainder_(1.0).clamp_(2.0**-53, 1.0 - 2.0**-53)

    def observe(self, t: Tensor, losses: Tensor, schedule: Schedule) -> None:
        self.times.observe(t, losses, schedule)


class ByRatio(Times):
    """A distribution of log(sigma / alpha), given by its quantiles and held to the schedule's range.

    The density in t is 1 / (dt / du), so quantiles are all that a member must say. On a table each entry has the
    probability of what lies nearer to it than to its neighbours.
    """

    @abc.abstractmethod
    def log_ratio(self, u: Tensor) -> Tensor:
        """log(sigma / alpha) below which a share u lies; rising and differentiable."""

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
        """On a continuous schedule, differentiable in u."""
        ratio = self.log_ratio(u * _share(self, schedule)).exp()
        return torch.as_tensor(schedule.time(NoiseLevel(torch.ones_like(ratio), ratio)))

    def share_below(self, log_ratio: Tensor) -> Tensor:
        """The distribution function, by bisection of the quantiles."""
        low, high = torch.zeros_like(log_ratio), torch.ones_like(log_ratio)
        for _ in range(60):
            middle = 0.5 * (low + high)
            below = self.log_ratio(middle) < log_ratio
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return high


def _share(times: ByRatio, schedule: Schedule) -> float:
    """How much of the distribution lies below the schedule's last level."""
    return _last_share(times, float(schedule.level(schedule.t_max).ratio))


@lru_cache(maxsize=64)
def _last_share(times: ByRatio, ratio: float) -> float:
    return 1.0 if ratio == math.inf else float(times.share_below(torch.tensor([math.log(ratio)], dtype=torch.float64)))


@lru_cache(maxsize=64)
def _bounds(times: ByRatio, schedule: Schedule) -> Tensor:
    """(steps + 1,) float64 from 0 to 1: the distribution function half-way between neighbouring entries."""
    assert schedule.steps is not None, "a table"
    y = -0.5 * torch.as_tensor(schedule.level(torch.arange(1, schedule.steps + 1)).log_snr)
    edges = y.new_tensor([0.0, 1.0])
    inside = times.share_below(0.5 * (y[1:] + y[:-1]))
    return torch.cat([edges[:1], inside, edges[1:]])


@dataclass(frozen=True)
class LogNormal(ByRatio):
    """log(sigma / alpha) ~ N(mean, std^2). Source: Karras et al. 2022, table 1, https://arxiv.org/abs/2206.00364

    On `Rectified`, where log(sigma / alpha) = logit t, this is the logit-normal distribution of t, mean 0 and std 1 in
    Esser et al. 2024, eq. 19, https://arxiv.org/abs/2403.03206
    """

    mean: float = -1.2
    std: float = 1.2

    def log_ratio(self, u: Tensor) -> Tensor:
        return self.mean + self.std * torch.special.ndtri(u)


@dataclass(frozen=True)
class LaplaceTimes(ByRatio):
    """log-SNR ~ Laplace(mean, scale). Source: Hang et al. 2024, table 1, https://arxiv.org/abs/2407.03297"""

    mean: float = 0.0
    scale: float = 0.5

    def log_ratio(self, u: Tensor) -> Tensor:
        from_middle = u - 0.5
        return -0.5 * (self.mean + self.scale * from_middle.sign() * torch.log1p(-2.0 * from_middle.abs()))


@dataclass(frozen=True)
class LogLogistic(ByRatio):
    """log(sigma / alpha) ~ Logistic(mean, scale). Source: Crowson et al. 2024 (code), https://arxiv.org/abs/2401.11605"""

    mean: float = 0.0
    scale: float = 1.0

    def log_ratio(self, u: Tensor) -> Tensor:
        return self.mean + self.scale * torch.logit(u)


@dataclass(frozen=True)
class SplitLogNormal(ByRatio):
    """log(sigma / alpha) normal on both sides of its mode, with a std for each. Source: Crowson et al. 2024 (code)

    Args:
        mode: the most frequent log(sigma / alpha).
        below, above: standard deviations on the two sides.
    """

    mode: float = -1.2
    below: float = 1.2
    above: float = 1.2

    def log_ratio(self, u: Tensor) -> Tensor:
        whole = self.below + self.above
        # each half is held to its own side, so that the one not taken spoils no gradient
        left = torch.special.ndtri((0.5 * u * whole / self.below).clamp(max=0.5))
        right = torch.special.ndtri((1.0 - 0.5 * (1.0 - u) * whole / self.above).clamp(min=0.5))
        return self.mode + self.below * left + self.above * right


@dataclass(frozen=True)
class CosineInterpolated(ByRatio):
    """log-SNR(u) between two shifted cosine schedules, of a low resolution at u = 0 and a high one at u = 1.

    Source: Hoogeboom et al. 2023, sec. 3.1, https://arxiv.org/abs/2301.11093

    Args:
        size: side of the images.
        low, high: the sides whose noise the two schedules have.
        log_snr_max: at u = 0; minus it at u = 1.
    """

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


class SecondMoment(nn.Module, Times):
    """p(t) proportional to the root of the mean squared loss at t, so that the estimate of the whole loss varies least.

    Times fall into `bins` equal parts; until each has been seen `history` times, they are uniform. Use it with
    `weight=Importance(...)`, which divides by p. Reading the losses waits for the device at every step. In a
    distributed run each rank may keep a history of its own: the estimate is unbiased whatever p.

    Source: Nichol and Dhariwal 2021, eq. 18, https://arxiv.org/abs/2102.09672

    Args:
        bins: parts of the range of t; at most as many as a table has entries.
        history: losses remembered in each part.
        uniform: share of uniform times that is mixed in, so that p is nowhere zero.
    """

    losses: Tensor
    seen: Tensor

    def __init__(self, bins: int = 100, history: int = 10, uniform: float = 0.001):
        super().__init__()
        self.bins, self.history, self.uniform = bins, history, uniform
        self.register_buffer("losses", torch.zeros(bins, history))
        self.register_buffer("seen", torch.zeros(bins, dtype=torch.int64))

    def extra_repr(self) -> str:
        return f"bins={self.bins}, history={self.history}, uniform={self.uniform}"

    def probabilities(self) -> Tensor:
        """(bins,) float64 on the CPU."""
        flat = torch.full((self.bins,), 1.0 / self.bins, dtype=torch.float64)
        if bool((self.seen < self.history).any()):
            return flat
        p = self.losses.double().square().mean(1).sqrt().cpu()
        if not p.sum() > 0:  # all are 0, or not numbers
            return flat
        return (1.0 - self.uniform) * p / p.sum() + self.uniform * flat

    def __call__(self, u: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        p = self.probabilities().to(u.device)
        ends = p.cumsum(0)
        k = torch.searchsorted(ends, u).clamp(max=self.bins - 1)
        inside = ((u - (ends[k] - p[k])) / p[k]).clamp(0.0, 1.0 - 2.0**-53)
        if not schedule.steps:
            t = (k + inside) * (schedule.t_max / self.bins)
            return t, (p[k] * (self.bins / schedule.t_max)).log()
        first = self._first(k, schedule.steps)
        entries = self._first(k + 1, schedule.steps) - first
        return first + 1 + (inside * entries).long(), (p[k] / entries).log()

    def observe(self, t: Tensor, losses: Tensor, schedule: Schedule) -> None:
        share = (t - 1) / schedule.t_max if schedule.steps else t / schedule.t_max
        bins = ((share * self.bins).long() if not schedule.steps else self._bin(t - 1, schedule.steps)).tolist()
        for k, loss in zip(bins, losses.detach().tolist(), strict=True):
            k = min(k, self.bins - 1)
            self.losses[k, int(self.seen[k]) % self.history] = loss
            self.seen[k] += 1

    def _first(self, k: Tensor, steps: int) -> Tensor:
        """Index of the first entry of a bin: ceil(k steps / bins)."""
        if self.bins > steps:
            raise ValueError(f"bins={self.bins} on a table of {steps} steps leaves bins empty. Use at most {steps}.")
        return -((-k * steps) // self.bins)

    def _bin(self, index: Tensor, steps: int) -> Tensor:
        return (index * self.bins) // steps
