"""Uniform times, and stratified or low-discrepancy sampling of any time distribution."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.randomness import KeyedRandom

from ...schedules.continuous import Schedule
from .base import TimeDistribution


@dataclass(frozen=True)
class UniformTimes(TimeDistribution):
    """Uniform t. Source: Ho et al. 2020, alg. 1, https://arxiv.org/abs/2006.11239"""

    def __call__(self, u: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor]:
        if schedule.steps:
            t = (u * schedule.steps).long().clamp_(max=schedule.steps - 1) + 1
            return t, torch.full_like(u, -math.log(schedule.steps))
        return u * schedule.t_max, torch.full_like(u, -math.log(schedule.t_max))


@dataclass(frozen=True)
class StratifiedTimes(TimeDistribution):
    """Stratified `times`, example i of the run in stratum i mod `strata`: u = (i mod strata + u') / strata.

    The stratum follows from the global index, so the global batch is stratified across ranks and gradient accumulation
    for every batch size that is a multiple of `strata`. Each example by itself has the distribution of `times`.

    Args:
        times: the distribution.
        strata: number of strata; preferably a divisor of the global batch size.
    """

    positive = ("strata",)

    times: TimeDistribution = UniformTimes()
    strata: int = 64

    def __call__(self, u: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor]:
        return self.times(u, schedule)

    def at(self, u: Tensor, schedule: Schedule) -> Tensor:
        return self.times.at(u, schedule)

    def uniforms(self, draws: KeyedRandom) -> Tensor:
        return draws.stratified("time", self.strata)

    def observe(self, t: Tensor, losses: Tensor, schedule: Schedule) -> None:
        self.times.observe(t, losses, schedule)


@dataclass(frozen=True)
class LowDiscrepancyTimes(TimeDistribution):
    """Low-discrepancy sampling of `times`: u_i = frac(u_0 + i (sqrt 5 - 1) / 2), i the global index.

    Any consecutive examples cover (0, 1) evenly, for every batch size and across ranks and gradient accumulation. u_0
    is random, one per seed, so each example by itself has the distribution of `times`.

    Source: Kingma et al. 2021, app. I.1, for the idea (their u_i = frac(u_0 + i / B)), https://arxiv.org/abs/2107.00630

    Args:
        times: the distribution.
    """

    times: TimeDistribution = UniformTimes()

    def __call__(self, u: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor]:
        return self.times(u, schedule)

    def at(self, u: Tensor, schedule: Schedule) -> Tensor:
        return self.times.at(u, schedule)

    def uniforms(self, draws: KeyedRandom) -> Tensor:
        start = KeyedRandom(draws.seed, torch.zeros(1, dtype=torch.int64)).uniform("time").to(draws.index.device)
        golden = int((math.sqrt(5.0) - 1.0) * 2**51)  # a fraction of 2^52, exact at any index
        rotations = ((draws.index * golden) & (2**52 - 1)).double().add_(0.5).mul_(2.0**-52)
        return (rotations + start).remainder_(1.0).clamp_(2.0**-53, 1.0 - 2.0**-53)

    def observe(self, t: Tensor, losses: Tensor, schedule: Schedule) -> None:
        self.times.observe(t, losses, schedule)
