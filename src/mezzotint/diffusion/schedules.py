"""Schedules: level(t) and its inverse time(level), exact at both ends.

Discrete schedules are tables: t = 0 is clean, 1..steps are noisy, and between two entries the log-SNR is interpolated.
Continuous ones are formulas in t in [0, t_max]. Both take a float (sampling) or a tensor of times (training).
"""

import abc
import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from .elementary import Number, atan2, exp, expm1, log1p, minimum, sin
from .levels import NoiseLevel


class Schedule(abc.ABC):
    """A path of noise levels from clean (t = 0) to the noisiest (t = t_max)."""

    t_max: float
    steps: int | None = None

    @abc.abstractmethod
    def level(self, t: Number) -> NoiseLevel:
        """The level at time t."""

    @abc.abstractmethod
    def time(self, level: NoiseLevel) -> Number:
        """The time of the level with this ratio of noise to signal, in whatever frame; kept to the noisy range."""

    def rate(self, t: Tensor) -> Tensor:
        """d log_snr / dt, negative."""
        with torch.enable_grad():
            u = t.detach().double().requires_grad_()
            log_snr = torch.as_tensor(self.level(u).log_snr)
            return torch.autograd.grad(log_snr.sum(), u, create_graph=isinstance(self, nn.Module))[0]

    def previous(self, t: Tensor, steps: int | None = None) -> Tensor:
        """The next cleaner time of a chain of `steps` equal steps (a table: its own), never below 0."""
        return (t - self.t_max / (steps or self.steps or 1000)).clamp(min=0)

    def prior_std(self, level: NoiseLevel) -> float:
        """Standard deviation of x where sampling starts: sigma, and 1 where the frame preserves variance."""
        return 1.0 if abs(float(level.norm) - 1.0) < 1e-6 else float(level.sigma)

    def __call__(self, t: Number) -> NoiseLevel:
        return self.level(t)


class Discrete(Schedule):
    """A table of `steps` betas: alpha_bar_t = prod_{i <= t} (1 - beta_i), alpha = sqrt(alpha_bar), variance preserving.

    Source: Ho et al. 2020, eq. 4, https://arxiv.org/abs/2006.11239. Betas given for 1000 steps are multiplied by
    1000 / steps for other numbers of steps, so that the last level stays about the same (code of Nichol and Dhariwal).
    """

    steps: int

    @abc.abstractmethod
    def betas(self) -> Tensor:
        """(steps,) float64; entry i leads from t = i to t = i + 1."""

    @property
    def t_max(self) -> float:  # type: ignore[override]
        return float(self.steps)

    @cached_property
    def _log_alpha_bar(self) -> Tensor:
        """(steps + 1,) float64, from 0 downwards; only the last may be -inf."""
        if self.steps < 1:
            raise ValueError(f"{self} has steps={self.steps}: a schedule needs at least one step.")
        betas = self.betas()
        last = float(betas[-1])
        if not bool(((betas[:-1] > 0) & (betas[:-1] < 1)).all()) or not 0 < last <= 1:
            raise ValueError(
                f"{self} has betas from {betas.min():g} to {betas.max():g}: each must lie between 0 and 1 (the last "
                f"may be 1), or no noise is added or no signal is left before the end. Use more steps or smaller betas."
            )
        return torch.cat([betas.new_zeros(1), torch.log1p(-betas).cumsum(0)])

    @cached_property
    def _tables(self) -> dict[torch.device, tuple[Tensor, Tensor, Tensor]]:
        """alpha, sigma and -log_snr, once for each device that asked."""
        log_ab = self._log_alpha_bar
        alpha, sigma = (0.5 * log_ab).exp(), torch.expm1(log_ab).abs().sqrt()
        return {log_ab.device: (alpha, sigma, -2.0 * (alpha.log() - sigma.log()))}

    def _table(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        found = self._tables.get(device)
        if found is None:
            at_home = self._tables[torch.device("cpu")]
            found = self._tables[device] = tuple(v.to(device) for v in at_home)  # type: ignore[assignment]
        return found  # type: ignore[return-value]

    @cached_property
    def _floats(self) -> tuple[list[NoiseLevel], list[float]]:
        alpha, sigma, key = (v.tolist() for v in self._table(torch.device("cpu")))
        return [NoiseLevel(a, s) for a, s in zip(alpha, sigma, strict=True)], key

    def level(self, t: Number) -> NoiseLevel:
        if isinstance(t, Tensor):
            return self._level_of_tensor(t)
        levels, key = self._floats
        i = int(t)
        if not 0 <= t <= self.steps:
            raise ValueError(f"t={t:g} is outside {self}, whose times run from 0 to {self.steps}.")
        if i == t:
            return levels[i]
        f = t - i
        if i == 0:  # the ratio of noise to signal grows linearly from 0
            return NoiseLevel.from_log_snr(-(key[1] + 2.0 * math.log(f)))
        if key[i + 1] == math.inf:  # the inverse ratio falls linearly to 0
            return NoiseLevel.from_log_snr(-(key[i] - 2.0 * math.log(1.0 - f)))
        return NoiseLevel.from_log_snr(-(key[i] + f * (key[i + 1] - key[i])))

    def _level_of_tensor(self, t: Tensor) -> NoiseLevel:
        alpha, sigma, key = self._table(t.device)
        if not t.is_floating_point():
            return NoiseLevel(alpha[t], sigma[t])
        t = t.double()
        i = t.long()
        f = t - i
        after = key[(i + 1).clamp(max=self.steps)]
        between = torch.lerp(key[i], after, f)
        between = torch.where(after == math.inf, key[i] - 2.0 * torch.log1p(-f), between)
        between = torch.where(i == 0, key[1] + 2.0 * f.log(), between)
        found, on_table = NoiseLevel.from_log_snr(-between), f == 0
        return NoiseLevel(torch.where(on_table, alpha[i], found.alpha), torch.where(on_table, sigma[i], found.sigma))

    def time(self, level: NoiseLevel) -> Number:
        if isinstance(level.alpha, Tensor):
            return self._time_of_tensor(level)
        key, v = self._floats[1], -level.log_snr
        i = bisect_left(key, v, 1)
        if i > self.steps:
            return float(self.steps)
        if i == 1 or key[i] == v:
            return float(i)
        if key[i] == math.inf:
            return i - math.exp(0.5 * (key[i - 1] - v))
        return i - 1 + (v - key[i - 1]) / (key[i] - key[i - 1])

    def _time_of_tensor(self, level: NoiseLevel) -> Tensor:
        v = -torch.as_tensor(level.log_snr)
        key = self._table(v.device)[2]
        i = torch.searchsorted(key, v.contiguous()).clamp(1, self.steps)
        before, after = key[i - 1], key[i]
        between = torch.where(after == math.inf, 1.0 - torch.exp(0.5 * (before - v)), (v - before) / (after - before))
        between = torch.where(v == after, 1.0, between)
        return (i - 1 + between.clamp(max=1.0)).clamp(min=1.0)

    def rate(self, t: Tensor) -> Tensor:
        """Slope of the interpolated log-SNR, the mean of both sides at an entry, one-sided at t = 1 and t = steps."""
        key = self._table(t.device)[2]
        low, high = t.ceil().long() - 1, t.floor().long() + 1
        low, high = low.clamp(1, self.steps - 1), high.clamp(2, self.steps)
        return -(key[high] - key[low]) / (high - low)

    def previous(self, t: Tensor, steps: int | None = None) -> Tensor:
        return (t - 1).clamp(min=0)


def _for_thousand(betas: Tensor) -> Tensor:
    """Betas that were given for 1000 steps, for as many steps as there are."""
    return betas * (1000.0 / len(betas))


@dataclass(frozen=True)
class Linear(Discrete):
    """beta linear in t. Source: Ho et al. 2020, sec. 4, https://arxiv.org/abs/2006.11239

    Args:
        steps: T.
        first, last: the two ends of beta at T = 1000; other T multiply both by 1000 / T.
    """

    steps: int = 1000
    first: float = 1e-4
    last: float = 0.02

    def betas(self) -> Tensor:
        return _for_thousand(torch.linspace(self.first, self.last, self.steps, dtype=torch.float64))


@dataclass(frozen=True)
class ScaledLinear(Discrete):
    """sqrt(beta) linear in t. Source: Rombach et al. 2022 (code), https://arxiv.org/abs/2112.10752

    Args:
        steps: T.
        first, last: the two ends of beta at T = 1000; other T multiply both by 1000 / T.
    """

    steps: int = 1000
    first: float = 0.00085
    last: float = 0.012

    def betas(self) -> Tensor:
        return _for_thousand(torch.linspace(self.first**0.5, self.last**0.5, self.steps, dtype=torch.float64) ** 2)


@dataclass(frozen=True)
class SigmoidBeta(Discrete):
    """beta = first + (last - first) sigmoid(u), u linear from -6 to 6. Source: Xu et al. 2022 (code), https://arxiv.org/abs/2203.02923

    Args:
        steps: T.
        first, last: the two limits of beta at T = 1000; other T multiply both by 1000 / T.
    """

    steps: int = 1000
    first: float = 1e-4
    last: float = 0.02

    def betas(self) -> Tensor:
        shape = torch.linspace(-6.0, 6.0, self.steps, dtype=torch.float64).sigmoid()
        return _for_thousand(self.first + (self.last - self.first) * shape)


@dataclass(frozen=True)
class Cosine(Discrete):
    """alpha_bar(t) = f(t) / f(0), f(t) = cos^2(pi/2 (t/T + s) / (1 + s)), betas at most `cap`.

    Source: Nichol and Dhariwal 2021, eq. 17, https://arxiv.org/abs/2102.09672

    Args:
        steps: T.
        offset: s; keeps the first steps from vanishing.
        cap: largest beta, so that the last level keeps a trace of signal.
    """

    steps: int = 1000
    offset: float = 0.008
    cap: float = 0.999

    def betas(self) -> Tensor:
        u = torch.linspace(0.0, 1.0, self.steps + 1, dtype=torch.float64)
        f = torch.cos((u + self.offset) / (1.0 + self.offset) * (math.pi / 2)) ** 2
        return (1.0 - f[1:] / f[:-1]).clamp(max=self.cap)


@dataclass(frozen=True)
class Sigmoid(Discrete):
    """alpha_bar(t) = (v(1) - v(t/T)) / (v(1) - v(0)), v(u) = sigmoid((start + (end - start) u) / tau), betas capped.

    Source: Chen 2023, https://arxiv.org/abs/2301.10972; Jabri et al. 2022, https://arxiv.org/abs/2212.11972

    Args:
        steps: T.
        start, end: range of the sigmoid's argument.
        tau: temperature.
        cap: largest beta, so that the last level keeps a trace of signal.
    """

    steps: int = 1000
    start: float = -3.0
    end: float = 3.0
    tau: float = 1.0
    cap: float = 0.999

    def betas(self) -> Tensor:
        u = torch.linspace(0.0, 1.0, self.steps + 1, dtype=torch.float64)
        v = ((self.start + (self.end - self.start) * u) / self.tau).sigmoid()
        f = v[-1] - v
        return (1.0 - f[1:] / f[:-1]).clamp(max=self.cap)


@dataclass(frozen=True)
class ContinuousCosine(Schedule):
    """alpha = cos(pi t / 2), sigma = sin(pi t / 2), t in [0, 1]; pure noise at t = 1, exactly.

    Source: Ho and Salimans 2021, https://arxiv.org/abs/2207.12598, without their truncation
    """

    t_max = 1.0

    def level(self, t: Number) -> NoiseLevel:
        return NoiseLevel(sin((1.0 - t) * (math.pi / 2)), sin(t * (math.pi / 2)))

    def time(self, level: NoiseLevel) -> Number:
        return atan2(level.sigma, level.alpha) * (2.0 / math.pi)


@dataclass(frozen=True)
class VP(Schedule):
    """log alpha_bar = -beta_min t - (beta_max - beta_min) t^2 / 2, variance preserving, t in [0, 1].

    Source: Song et al. 2021, eq. 32, https://arxiv.org/abs/2011.13456

    Args:
        beta_min, beta_max: the rate of noise at t = 0 and t = 1.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    t_max = 1.0

    def _exponent(self, t: Number) -> Number:
        """-log alpha_bar."""
        return (self.beta_min + 0.5 * (self.beta_max - self.beta_min) * t) * t

    def _time_of(self, exponent: Number) -> Number:
        b, d = self.beta_min, self.beta_max - self.beta_min
        exponent = minimum(exponent, b + 0.5 * d)
        return 2.0 * exponent / (b + (b * b + 2.0 * d * exponent) ** 0.5)

    def level(self, t: Number) -> NoiseLevel:
        c = self._exponent(t)
        return NoiseLevel(exp(-0.5 * c), (-expm1(-c)) ** 0.5)

    def time(self, level: NoiseLevel) -> Number:
        return self._time_of(log1p(level.ratio**2))


@dataclass(frozen=True)
class EDM(Schedule):
    """alpha = 1, sigma = t: variance exploding, and time is the noise level itself.

    Source: Karras et al. 2022, table 1, https://arxiv.org/abs/2206.00364

    Args:
        sigma_max: where sampling starts. Higher levels are taken as they are, only pure noise is held to sigma_max.
    """

    sigma_max: float = 80.0

    @property
    def t_max(self) -> float:  # type: ignore[override]
        return float(self.sigma_max)

    def level(self, t: Number) -> NoiseLevel:
        return NoiseLevel(torch.ones_like(t) if isinstance(t, Tensor) else 1.0, t)

    def time(self, level: NoiseLevel) -> Number:
        ratio = level.ratio
        if isinstance(ratio, Tensor):
            return torch.where(ratio.isfinite(), ratio, self.t_max)
        return ratio if ratio < math.inf else self.t_max


@dataclass(frozen=True)
class Rectified(Schedule):
    """alpha = 1 - t, sigma = t, t in [0, 1]: the straight path from data to noise.

    Source: Liu et al. 2023, https://arxiv.org/abs/2209.03003; Lipman et al. 2023, https://arxiv.org/abs/2210.02747
    """

    t_max = 1.0

    def level(self, t: Number) -> NoiseLevel:
        return NoiseLevel(1.0 - t, t)

    def time(self, level: NoiseLevel) -> Number:
        return level.sigma / (level.alpha + level.sigma)
