"""DDPM ancestral sampling."""

from dataclasses import dataclass

from torch import Tensor

from ..denoiser import Predict
from ..gaussian import posterior
from ..levels import NoiseLevel
from ..noise_sources import NoiseSource
from ..variances import PosteriorVariance, Variance
from .base import Sampler, State


@dataclass(frozen=True)
class DDPM(Sampler):
    r"""x_s ~ N(mean of q(x_s | x_t, x0), variance) with the predicted x0; the step to clean data adds no noise.

    mean = keep x_t + clean x0 = alpha_s x0 + keep sigma_t eps, since keep alpha_t + clean = alpha_s. Exact for any pair
    of levels, so respacing needs no recomputed tables.

    Source: Ho et al. 2020, algorithm 2 and eq. 7, https://arxiv.org/abs/2006.11239

    Args:
        variance: PosteriorVariance (fixed small), TransitionVariance (fixed large) or LearnedRangeVariance.
    """

    variance: Variance = PosteriorVariance()

    @property
    def weak_order(self) -> int | None:
        return 1

    @property
    def turns(self) -> bool:
        return False

    def step(
        self, denoise: Predict, x: Tensor, now: NoiseLevel, next: NoiseLevel, state: State, noise: NoiseSource
    ) -> tuple[Tensor, State]:
        pred = denoise(x, now)
        if next.clean:
            return pred.x0 if next.alpha == 1.0 else pred.x0 * next.alpha, None
        keep, _, _ = posterior(next, now)
        mean = pred.mix(next.alpha, keep * now.sigma)
        return mean + self.variance(next, now, pred) ** 0.5 * noise(x, now, next), None
