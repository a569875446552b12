"""Times as they are worth: where the losses are large."""

import torch
from torch import Tensor, nn

from ...schedules.continuous import Schedule
from .base import TimeDistribution


class LossAwareTimes(nn.Module, TimeDistribution):
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
