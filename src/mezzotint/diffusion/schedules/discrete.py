"""The discrete schedule: a table of betas, t = 0 clean and t = 1..steps noisy, interpolated in log-SNR."""

import abc
import math
from bisect import bisect_left
from functools import cached_property

import torch
from torch import Tensor

from ..levels import NoiseLevel
from ..scalar_ops import Number
from .continuous import Schedule


class DiscreteSchedule(Schedule):
    """A table of `steps` betas: alpha_bar_t = prod_{i <= t} (1 - beta_i), alpha = sqrt(alpha_bar), variance preserving.

    Source: Ho et al. 2020, eq. 4, https://arxiv.org/abs/2006.11239. Betas specified for 1000 steps are multiplied by
    1000 / steps for other numbers of steps, which keeps the last level about the same (code of Nichol and Dhariwal).
    """

    steps: int  # type: ignore[override]

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"{self} has steps={self.steps}: a schedule needs at least one step. Use steps=1 or more.")

    @abc.abstractmethod
    def betas(self) -> Tensor:
        """Return beta, (steps,) float64; entry i belongs to the step from t = i to t = i + 1."""

    @property
    def t_max(self) -> float:
        return float(self.steps)

    @cached_property
    def _log_alpha_bar(self) -> Tensor:
        """log alpha_bar, (steps + 1,) float64, decreasing from 0; only the last may be -inf."""
        betas = self.betas()
        last = float(betas[-1])
        if not bool(((betas[:-1] > 0) & (betas[:-1] < 1)).all()) or not 0 < last <= 1:
            raise ValueError(
                f"{self} has betas from {betas.min():g} to {betas.max():g}: each must lie between 0 and 1 (the last "
                f"may be 1), or a step adds no noise or removes all signal. Use more steps or smaller betas."
            )
        return torch.cat([betas.new_zeros(1), torch.log1p(-betas).cumsum(0)])

    @cached_property
    def _tables(self) -> dict[torch.device, tuple[Tensor, Tensor, Tensor]]:
        """alpha, sigma and -log_snr, cached per device."""
        log_ab = self._log_alpha_bar
        alpha, sigma = (0.5 * log_ab).exp(), torch.expm1(log_ab).abs().sqrt()
        return {log_ab.device: (alpha, sigma, -2.0 * (alpha.log() - sigma.log()))}

    def _table(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        if device not in self._tables:
            alpha, sigma, key = self._tables[torch.device("cpu")]
            self._tables[device] = alpha.to(device), sigma.to(device), key.to(device)
        return self._tables[device]

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
            raise ValueError(f"t={t:g} is outside {self}, whose times run from 0 to {self.steps}. Use one of these.")
        if i == t:
            return levels[i]
        f = t - i
        if i == 0:  # sigma / alpha grows linearly from 0
            return NoiseLevel.from_log_snr(-(key[1] + 2.0 * math.log(f)))
        if key[i + 1] == math.inf:  # alpha / sigma decreases linearly to 0
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
        inner, on_table = NoiseLevel.from_log_snr(-between), f == 0
        return NoiseLevel(torch.where(on_table, alpha[i], inner.alpha), torch.where(on_table, sigma[i], inner.sigma))

    def time(self, level: NoiseLevel) -> Number:
        if level.batched:
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
        between = torch.where((v == after) | (i == 1), 1.0, between)
        return (i - 1 + between.clamp(max=1.0)).clamp(min=1.0)

    def rate(self, t: Tensor) -> Tensor:
        """Return the slope of the interpolated log-SNR: at an entry the mean of both sides, one-sided at the ends.

        Where the table ends in pure noise, whose log-SNR is -inf, the entry before it is treated as the last.
        """
        key = self._table(t.device)[2]
        last = self.steps - (self._floats[1][-1] == math.inf)
        if last < 2:
            raise ValueError(
                f"{self} has a single level with both signal and noise, so log-SNR has no slope. Use more steps, or a "
                "weight that does not need it, such as loss_weight=constant."
            )
        low, high = t.ceil().long() - 1, t.floor().long() + 1
        low, high = low.clamp(1, last - 1), high.clamp(2, last)
        return -(key[high] - key[low]) / (high - low)

    def previous(self, t: Tensor, steps: int | None = None) -> Tensor:
        return (t - 1).clamp(min=0)
