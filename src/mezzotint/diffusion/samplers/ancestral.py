"""Ancestral forms of one-step samplers: a step of the ODE to less noise than the next level has, then fresh noise."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ..gaussian import posterior
from ..grids.spacings import Grid
from ..levels import NoiseLevel
from .base import Sampler, State, plus
from .combinators import WarmStarted
from .ddim import DDIM
from .multistep import Multistep
from .predictor_corrector import PredictorCorrector


def below(now: NoiseLevel, next: NoiseLevel, eta: float) -> tuple[NoiseLevel, float]:
    """The level under `next` from which the noise of this standard deviation leads up to it (sigma_down, sigma_up).

    The variance is eta^2 times the posterior's, but at most all of sigma'^2.
    """
    if next.clean or not eta:
        return next, 0.0
    variance = float(min(eta**2 * posterior(next, now)[2], next.sigma**2))
    return NoiseLevel(next.alpha, (next.sigma**2 - variance) ** 0.5), variance**0.5


@dataclass(frozen=True)
class Ancestral(Sampler):
    """A one-step sampler of the ODE down to sigma_down, then noise up to the next level.

    The noise is exact, so the weak order is the sampler's own. With DDIM() it is DDIM(1.0), Euler's ancestral sampler;
    with DPMSolverSinglestep(2, NoiseCoordinate()) k-diffusion's DPM2 ancestral, and with DPMSolverSinglestep(2) its
    DPM-Solver++(2S) ancestral.

    Source: Song et al. 2020, eq. 12, for the split of the noise, https://arxiv.org/abs/2010.02502; Crowson 2022,
    k-diffusion (code), sample_dpm_2_ancestral and sample_dpmpp_2s_ancestral

    Args:
        sampler: of the ODE, one step at a time.
        eta: share of fresh noise.
    """

    sampler: Sampler
    eta: float = 1.0

    def __post_init__(self) -> None:
        if self.sampler.order is None or isinstance(self.sampler, Multistep | PredictorCorrector | WarmStarted):
            raise ValueError(f"{self.sampler} looks back or draws noise itself. Use a one-step sampler of the ODE.")
        if not self.eta > 0:
            raise ValueError(f"eta={self.eta:g}: give a positive share of noise, or use {self.sampler} itself.")

    @property
    def weak_order(self) -> int | None:  # type: ignore[override]
        return self.sampler.order

    @property
    def calls(self) -> int | None:  # type: ignore[override]
        return self.sampler.calls

    @property
    def turns(self) -> bool:
        return False

    @property
    def cfg_pp(self) -> bool:
        return self.sampler.cfg_pp

    def init(self, grid: Grid) -> State:
        return self.sampler.init(grid)

    def step(
        self, denoise: Any, x: Tensor, now: NoiseLevel, next: NoiseLevel, state: State, noise: Any
    ) -> tuple[Tensor, State]:
        down, std = below(now, next, self.eta)
        if down.clean and not next.clean:  # all noise is fresh, and no solver steps beyond its last level
            x, _ = DDIM().step(denoise, x, now, down, None, noise)
        else:
            x, state = self.sampler.step(denoise, x, now, down, state, noise)
        return (plus(x, noise(x, now, next), std) if std else x), state


@dataclass(frozen=True)
class DPMSolverSinglestepSDE(Sampler):
    r"""DPM-Solver++ SDE, singlestep: the ancestral step, taken with the prediction made half-way down in log-SNR.

    The point half-way is drawn by an ancestral step of its own. Two calls a step; the steps from pure noise and to
    clean data have one.

    Source: Lu et al. 2022, sec. 5, https://arxiv.org/abs/2211.01095; Crowson 2022, k-diffusion (code), sample_dpmpp_sde
    with r = 1/2

    Args:
        eta: share of fresh noise.
    """

    eta: float = 1.0
    weak_order: ClassVar[int | None] = 1
    calls: ClassVar[int | None] = 2

    def __post_init__(self) -> None:
        if not self.eta > 0:
            raise ValueError(f"eta={self.eta:g}: give a positive share of noise, or use DPMSolverSinglestep(2).")

    @property
    def turns(self) -> bool:
        return False

    def step(
        self, denoise: Any, x: Tensor, now: NoiseLevel, next: NoiseLevel, state: State, noise: Any
    ) -> tuple[Tensor, State]:
        pred = denoise(x, now)
        if now.alpha and not next.clean:
            middle = NoiseLevel.from_log_snr(0.5 * (now.log_snr + next.log_snr))
            down, std = below(now, middle, self.eta)
            inside = plus(pred.mix(down.alpha, down.sigma), noise(x, now, middle), std)
            pred = pred.with_x0(denoise(inside, middle).x0)
        down, std = below(now, next, self.eta)
        x = pred.mix(down.alpha, down.sigma)
        return (plus(x, noise(x, now, next), std) if std else x), None
