"""Time distributions: at which noise levels the network is trained, each with its density.

`t, log_density = times(u, schedule)` sends uniform numbers to times by the inverse of the distribution function. On a
table t is int64 in 1..steps and the density is a probability; on a continuous schedule it is a density in t.
"""

import abc
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .draws import Draws
from .schedules import Schedule


class Times(abc.ABC):
    """A distribution over the noisy times of a schedule."""

    @abc.abstractmethod
    def __call__(self, u: Tensor, schedule: Schedule) -> tuple[Tensor, Tensor]:
        """u (B,) float64 uniform in (0, 1) -> t (B,), log density at t (B,) float64."""

    def uniforms(self, draws: Draws) -> Tensor:
        """The uniform numbers behind a batch, (B,) float64."""
        return draws.uniform("time")


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

    def uniforms(self, draws: Draws) -> Tensor:
        return (draws.index.remainder(self.strata) + draws.uniform("time")).div_(self.strata)
