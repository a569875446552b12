"""Steps of an average velocity."""

from dataclasses import dataclass

from torch import Tensor

from ..denoiser import Predict
from ..interval import INTERVAL, interval_between
from ..levels import NoiseLevel
from ..noise_sources import NoiseSource
from .base import Sampler, State


@dataclass(frozen=True)
class MeanFlow(Sampler):
    """y' = y - (u - u') U(x, u, u') with y = x / (alpha + sigma) and flow time u: exact for the average velocity U.

    For networks trained by `MeanFlowObjective`. Any grid, down to one step; an instantaneous velocity in place of U
    makes it Euler's method on the straight path.

    Source: Geng et al. 2025, eq. 12, https://arxiv.org/abs/2505.13447
    """

    @property
    def order(self) -> int | None:
        return 1

    @property
    def turns(self) -> bool:
        return False

    def step(
        self, denoise: Predict, x: Tensor, now: NoiseLevel, next: NoiseLevel, state: State, noise: NoiseSource
    ) -> tuple[Tensor, State]:
        if float(next.ratio) > float(now.ratio):
            raise ValueError(
                "sampler=mean_flow steps to less noise only: an average velocity is learned for intervals that end "
                "cleaner. Use a grid of decreasing noise, or sampler=euler for inversion."
            )
        pred = denoise(x, now, **{INTERVAL: interval_between(x, now, next)})
        return pred.mix(next.alpha, next.sigma), None
