"""Ancestral samplers: an ODE step to less noise than the next level has, followed by fresh noise."""

from dataclasses import dataclass

from torch import Tensor

from ..denoiser import Predict
from ..gaussian import posterior
from ..levels import NoiseLevel
from ..noise_sources import NoiseSource
from .base import Sampler, State, add_scaled_
from .combinators import Combinator
from .ddim import DDIM


def split_step(now: NoiseLevel, next: NoiseLevel, eta: float) -> tuple[NoiseLevel, float]:
    """Split sigma' at `next` into sigma_down and sigma_up: return the level with sigma_down, and sigma_up.

    sigma_up^2 is eta^2 times the posterior variance, at most sigma'^2.
    """
    if next.clean or not eta:
        return next, 0.0
    variance = float(min(eta**2 * posterior(next, now)[2], next.sigma**2))
    return NoiseLevel(next.alpha, (next.sigma**2 - variance) ** 0.5), variance**0.5


@dataclass(frozen=True)
class Ancestral(Combinator):
    """A one-step ODE sampler down to sigma_down, followed by noise up to the next level.

    The noise is exact, so the weak order is the sampler's order. With DDIM() this is DDIM(1.0), the ancestral Euler
    sampler; with DPMSolverSinglestep(2, NoiseCoordinate()) k-diffusion's DPM2 ancestral, and with
    DPMSolverSinglestep(2) its DPM-Solver++(2S) ancestral.

    Source: Song et al. 2020, eq. 12, for the split of the noise, https://arxiv.org/abs/2010.02502; Crowson 2022,
    k-diffusion (code), sample_dpm_2_ancestral and sample_dpmpp_2s_ancestral

    Args:
        sampler: a one-step ODE sampler.
        eta: scale of the fresh noise; 1 is the posterior's standard deviation.
    """

    sampler: Sampler
    eta: float = 1.0

    def __post_init__(self) -> None:
        if self.sampler.order is None or not self.sampler.one_step:
            raise ValueError(f"{self.sampler} uses earlier steps or adds noise itself. Use a one-step ODE sampler.")
        if not self.eta > 0:
            raise ValueError(f"eta={self.eta:g}: give a positive eta, or use {self.sampler} itself.")

    @property
    def weak_order(self) -> int | None:
        return self.sampler.order

    @property
    def turns(self) -> bool:
        return False

    def step(
        self, denoise: Predict, x: Tensor, now: NoiseLevel, next: NoiseLevel, state: State, noise: NoiseSource
    ) -> tuple[Tensor, State]:
        down, std = split_step(now, next, self.eta)
        if down.clean and not next.clean:  # all noise is fresh; DDIM is exact for any target level
            x, _ = DDIM().step(denoise, x, now, down, None, noise)
        else:
            x, state = self.sampler.step(denoise, x, now, down, state, noise)
        return (add_scaled_(x, noise(x, now, next), std) if std else x), state


@dataclass(frozen=True)
class DPMSolverSinglestepSDE(Sampler):
    r"""DPM-Solver++ SDE, singlestep: an ancestral step with the prediction made at the midpoint in log-SNR.

    The midpoint is reached by an ancestral step as well. Two calls per step, one in the steps from pure noise and to
    clean data.

    Source: Lu et al. 2022, sec. 5, https://arxiv.org/abs/2211.01095; Crowson 2022, k-diffusion (code), sample_dpmpp_sde
    with r = 1/2

    Args:
        eta: scale of the fresh noise; 1 is the posterior's standard deviation.
    """

    eta: float = 1.0

    def __post_init__(self) -> None:
        if not self.eta > 0:
            raise ValueError(f"eta={self.eta:g}: give a positive eta, or use DPMSolverSinglestep(2).")

    @property
    def weak_order(self) -> int | None:
        return 1

    @property
    def calls(self) -> int | None:
        return 2

    @property
    def turns(self) -> bool:
        return False

    def step(
        self, denoise: Predict, x: Tensor, now: NoiseLevel, next: NoiseLevel, state: State, noise: NoiseSource
    ) -> tuple[Tensor, State]:
        pred = denoise(x, now)
        if now.alpha and not next.clean:
            middle = NoiseLevel.from_log_snr(0.5 * (now.log_snr + next.log_snr))
            down, std = split_step(now, middle, self.eta)
            midpoint = add_scaled_(pred.mix(down.alpha, down.sigma), noise(x, now, middle), std)
            pred = pred.with_x0(denoise(midpoint, middle).x0)
        down, std = split_step(now, next, self.eta)
        x = pred.mix(down.alpha, down.sigma)
        return (add_scaled_(x, noise(x, now, next), std) if std else x), None
