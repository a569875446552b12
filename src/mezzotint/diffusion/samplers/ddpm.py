"""Ancestral sampling of DDPM."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ..gaussian import posterior
from ..levels import NoiseLevel
from ..variances import PosteriorVariance, Variance
from .base import Sampler, State


@dataclass(frozen=True)
class DDPM(Sampler):
    r"""x_s ~ N(mean of q(x_s | x_t, x0), variance), with the prediction for x0; the step to clean data draws nothing.

    mean = keep x_t + clean x0 = alpha_s x0 + keep sigma_t eps, since keep alpha_t + clean = alpha_s. Exact for any pair
    of levels, so respacing needs no tables.

    Source: Ho et al. 2020, algorithm 2 and eq. 7, https://arxiv.org/abs/2006.11239

    Args:
        variance: Posterior (fixed small), Transition (fixed large) or LearnedRangeVariance.
    """

    variance: Variance = PosteriorVariance()
    weak_order: ClassVar[int | None] = 1

    @property
    def turns(self) -> bool:
        return False

    def step(
        self, denoise: Any, x: Tensor, now: NoiseLevel, next: NoiseLevel, state: State, noise: Any
    ) -> tuple[Tensor, State]:
        pred = denoise(x, now)
        if next.clean:
            return pred.x0 if next.alpha == 1.0 else pred.x0 * next.alpha, None
        keep, _, _ = posterior(next, now)
        mean = pred.mix(next.alpha, keep * now.sigma)
        return mean + self.variance(next, now, pred) ** 0.5 * noise(x, now, next), None
