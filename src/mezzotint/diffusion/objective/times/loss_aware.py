"""Loss-aware time sampling, the second-moment resampler of improved DDPM."""

import torch
from torch import Tensor, nn

from ...schedules.continuous import Schedule
from .base import TimeDistribution


class LossAwareTimes(nn.Module, TimeDistribution):
    """p(t) proportional to the root mean square loss at t, which minimises the variance of the loss estimate.

    Times are divided into `bins` equal parts and are uniform until each has been sampled `history` times. Use it with
    `weight=ImportanceWeight(...)`, which divides by p. Reading the losses synchronises with the device at every step.
    In a distributed run each rank keeps its own history: the estimate is unbiased for any p.

    Source: Nichol and Dhariwal 2021, eq. 18, https://arxiv.org/abs/2102.09672

    Args:
        bins: number of parts; at most the number of entries of a table.
        history: losses stored per part.
        uniform: fraction of uniform times, which keeps p above zero everywhere.
    """

    positive = ("bins", "history")
    natural = ("uniform",)

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
        """Return the probability of each bin, (bins,) float64 on the CPU."""
        flat = torch.full((self.bins,), 1.0 / self.bins, dtype=torch.float64)
        if bool((self.seen < self.history).any()):
            return flat
        p = self.losses.cpu().double().square().mean(1).sqrt()
        if not p.sum() > 0:  # all zero, or NaN
            return flat
        return (1.0 - self.uniform) * p / p.sum() + self.uniform * flat

    def __call__(self, u: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor]:
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
        table, seen = self.losses.cpu(), self.seen.cpu()  # copies where they lie on a device
        for k, loss in zip(bins, losses.detach().cpu().tolist(), strict=True):
            k = min(k, self.bins - 1)
            table[k, int(seen[k]) % self.history] = loss
            seen[k] += 1
        self.losses.copy_(table, non_blocking=True)
        self.seen.copy_(seen, non_blocking=True)

    def _first(self, k: Tensor, steps: int) -> Tensor:
        """Return the index of the first entry of a bin, ceil(k steps / bins)."""
        if self.bins > steps:
            raise ValueError(f"bins={self.bins} on a table of {steps} steps leaves bins empty. Use at most {steps}.")
        return -((-k * steps) // self.bins)

    def _bin(self, index: Tensor, steps: int) -> Tensor:
        return (index * self.bins) // steps
