"""DDIM, from the deterministic ODE step (eta = 0) to ancestral sampling (eta = 1)."""

from dataclasses import dataclass

from torch import Tensor

from ..denoiser import Predict
from ..gaussian import posterior
from ..levels import NoiseLevel
from ..noise_sources import NoiseSource
from .base import Sampler, State, add_scaled_

ALL_NOISE = 1e6  # from this eta on v = sigma_s^2 for every step that changes log sigma by more than 1e-12


@dataclass(frozen=True)
class DDIM(Sampler):
    r"""x_s = alpha_s x0 + sqrt(sigma_s^2 - v) eps + sqrt(v) z, v = min(eta^2 posterior variance, sigma_s^2).

    eta = 0 is Euler's step on the probability-flow ODE in the noise, data and flow coordinates alike; eta = 1 is DDPM
    with the posterior variance, and in the variance-exploding frame the ancestral Euler sampler.

    Source: Song et al. 2020, eqs. 12 and 16, https://arxiv.org/abs/2010.02502

    Args:
        eta: scale of the fresh noise; 0 is deterministic.

    Raises:
        ValueError: eta below 0.
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        if self.eta < 0:
            raise ValueError(
                f"eta={self.eta}: it scales the added noise and cannot be negative. Give 0 (deterministic) to 1 (DDPM)."
            )

    @property
    def order(self) -> int | None:
        return None if self.eta else 1

    @property
    def weak_order(self) -> int | None:
        return 1 if self.eta else None

    @property
    def turns(self) -> bool:
        return not self.eta

    @property
    def renews_noise(self) -> bool:
        return self.eta >= ALL_NOISE

    @property
    def cfg_pp(self) -> bool:
        return True

    def step(
        self, denoise: Predict, x: Tensor, now: NoiseLevel, next: NoiseLevel, state: State, noise: NoiseSource
    ) -> tuple[Tensor, State]:
        pred = denoise(x, now)
        if not self.eta or next.clean:
            return pred.mix(next.alpha, next.sigma), None
        variance = float(min(self.eta**2 * posterior(next, now)[2], next.sigma**2))
        mean = pred.mix(next.alpha, (next.sigma**2 - variance) ** 0.5)
        return add_scaled_(mean, noise(x, now, next), variance**0.5), None
