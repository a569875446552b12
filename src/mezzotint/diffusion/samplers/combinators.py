"""Sampler combinators: samplers that wrap other samplers."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..denoiser import Predict
from ..gaussian import transition
from ..grids.spacings import Grid
from ..levels import NoiseLevel
from ..noise_sources import NoiseSource
from .base import Sampler, State, rho
from .multistep import Multistep
from .runge_kutta import RungeKutta
from .warm_start import run_up

RESTART = object()  # the state of a wrapped sampler that has to be initialised again


class Combinator(Sampler):
    """Base of samplers that wrap another sampler and share its properties, unless they override them."""

    sampler: Sampler

    @property
    def calls(self) -> int | None:
        return self.sampler.calls

    @property
    def turns(self) -> bool:
        return self.sampler.turns

    @property
    def one_step(self) -> bool:
        return self.sampler.one_step

    @property
    def repeats_steps(self) -> bool:
        return self.sampler.repeats_steps

    @property
    def cfg_pp(self) -> bool:
        return self.sampler.cfg_pp

    def init(self, grid: Grid) -> State:
        return self.sampler.init(grid)


@dataclass(frozen=True)
class Renoised(Combinator):
    """Steps to noisier levels sample q(x_next | x_now) and reset the sampler; all other steps are the sampler's.

    On a grid that returns to higher noise this is Restart, or RePaint's resampling. (A deterministic sampler by itself
    on a grid of increasing noise performs inversion.)

    Source: Xu et al. 2023, algorithm 1, https://arxiv.org/abs/2306.14878; Lugmayr et al. 2022,
    https://arxiv.org/abs/2201.09865
    """

    sampler: Sampler

    @property
    def weak_order(self) -> int | None:
        return self.sampler.order or self.sampler.weak_order

    @property
    def turns(self) -> bool:
        return True

    def init(self, grid: Grid) -> State:
        return grid, self.sampler.init(grid)

    def step(
        self, denoise: Predict, x: Tensor, now: NoiseLevel, next: NoiseLevel, state: State, noise: NoiseSource
    ) -> tuple[Tensor, State]:
        grid, inner = state
        if rho(next) > rho(now):
            factor, variance = transition(now, next)
            return torch.add(x * factor, noise(x, now, next), alpha=float(variance) ** 0.5), (grid, RESTART)
        if inner is RESTART:
            inner = self.sampler.init((now, *grid[1:]))
        x, inner = self.sampler.step(denoise, x, now, next, inner, noise)
        return x, (grid, inner)


@dataclass(frozen=True)
class EDMStochastic(Combinator):
    r"""EDM's stochastic sampler: noise is added to reach a raised level, from which the wrapped sampler steps.

    sigma^ = (1 + g) sigma, x^ = x + sqrt(sigma^^2 - sigma^2) S_noise z, and
    g = min(S_churn / N, sqrt(2) - 1) where S_tmin <= sigma / alpha <= S_tmax, else 0; N is the number of steps. With
    Heun(NoiseCoordinate()) it is algorithm 2. The noise is exact, so for S_noise = 1 the weak order is the sampler's.

    Source: Karras et al. 2022, algorithm 2, https://arxiv.org/abs/2206.00364

    Args:
        sampler: a one-step sampler.
        s_churn: S_churn, the total amount of noise added over the trajectory.
        s_tmin, s_tmax: S_tmin and S_tmax, the band of sigma / alpha in which noise is added.
        s_noise: S_noise; above 1 it compensates for a network that removes too much noise, and inflates the variance.
    """

    positive = ("s_tmax",)
    natural = ("s_churn", "s_tmin", "s_noise")

    sampler: Sampler
    s_churn: float = 40.0
    s_tmin: float = 0.05
    s_tmax: float = 50.0
    s_noise: float = 1.003

    def __post_init__(self) -> None:
        if not self.sampler.one_step:
            raise ValueError(
                f"{self.sampler} extrapolates from earlier steps, which churn invalidates. Use a one-step sampler."
            )

    @property
    def weak_order(self) -> int | None:
        return self.sampler.order or self.sampler.weak_order

    def init(self, grid: Grid) -> State:
        return min(self.s_churn / max(len(grid) - 1, 1), math.sqrt(2.0) - 1.0), self.sampler.init(grid)

    def step(
        self, denoise: Predict, x: Tensor, now: NoiseLevel, next: NoiseLevel, state: State, noise: NoiseSource
    ) -> tuple[Tensor, State]:
        gain, inner = state
        if gain and now.alpha and self.s_tmin <= rho(now) <= self.s_tmax:
            raised = NoiseLevel(now.alpha, now.sigma * (1.0 + gain))
            std = self.s_noise * float(raised.sigma**2 - now.sigma**2) ** 0.5
            x, now = torch.add(x, noise(x, now, raised), alpha=std), raised
        x, inner = self.sampler.step(denoise, x, now, next, inner, noise)
        return x, (gain, inner)


@dataclass(frozen=True)
class LangevinCorrected(Combinator):
    r"""Predictor-corrector sampling: each step is followed by n steps of Langevin dynamics at the new level.

    x <- x + e score + sqrt(2 e) z with e = 2 (snr sigma)^2. The paper sets e = 2 (snr |z| / |score|)^2 with norms over
    the batch; here the expected ratio, sigma, is used, which keeps samples independent of their batch.

    Source: Song et al. 2021, algorithms 2 to 5, https://arxiv.org/abs/2011.13456

    Args:
        sampler: the predictor.
        n: corrector steps after each step, one call each; none at a clean level.
        snr: signal-to-noise ratio r of a Langevin step.
    """

    positive = ("snr",)
    natural = ("n",)

    sampler: Sampler
    n: int = 1
    snr: float = 0.16

    def __post_init__(self) -> None:
        if self.sampler.repeats_steps:
            raise ValueError(
                f"{self.sampler} repeats each step, which undoes the Langevin steps. Use a sampler without a corrector."
            )

    @property
    def calls(self) -> int | None:
        return self.sampler.calls and self.sampler.calls + self.n

    @property
    def cfg_pp(self) -> bool:
        return False

    def step(
        self, denoise: Predict, x: Tensor, now: NoiseLevel, next: NoiseLevel, state: State, noise: NoiseSource
    ) -> tuple[Tensor, State]:
        x, state = self.sampler.step(denoise, x, now, next, state, noise)
        if next.clean:
            return x, state
        sigma = float(next.sigma)
        e = 2.0 * (self.snr * sigma) ** 2
        for _ in range(self.n):
            eps = denoise(x, next).eps
            x = torch.add(x, eps, alpha=-e / sigma)
            x = torch.add(x, noise(x, next, next), alpha=(2.0 * e) ** 0.5)
        return x, state


@dataclass(frozen=True)
class WarmStarted(Sampler):
    """A multistep sampler whose first steps are taken by a Runge-Kutta method, so that it starts with a full history.

    PNDM is WarmStarted(IPNDM(4), RK4(NoiseCoordinate()), 3), and with Heun(NoiseCoordinate()) and one step it is PLMS;
    the midpoint of a Runge-Kutta step is taken in the coordinate here and in t there.
    WarmStarted(LMS(4, FlowCoordinate()), RK4(), 3) keeps its order 4 from pure noise to clean data.

    Source: Liu et al. 2022, algorithm 2, https://arxiv.org/abs/2202.09778

    Args:
        sampler: the multistep sampler.
        start: the method of the first steps.
        steps: number of first steps; points - 1 fill the history.
    """

    sampler: Multistep
    start: RungeKutta
    steps: int = 3

    @property
    def order(self) -> int | None:
        return self.sampler.order

    @property
    def order_from_noise(self) -> int | None:
        return self.order if self.sampler.coordinate.bounded else self.sampler.order_from_noise

    @property
    def weak_order(self) -> int | None:
        return self.sampler.weak_order

    @property
    def calls(self) -> int | None:
        return self.sampler.calls

    @property
    def turns(self) -> bool:
        return False

    @property
    def one_step(self) -> bool:
        return False

    def init(self, grid: Grid) -> State:
        return 0, None

    def step(
        self, denoise: Predict, x: Tensor, now: NoiseLevel, next: NoiseLevel, state: State, noise: NoiseSource
    ) -> tuple[Tensor, State]:
        done, older = state
        if done >= self.steps:
            x, older = self.sampler.step(denoise, x, now, next, older, noise)
            return x, (done, older)
        x, ((_, first), *_) = run_up(self.start, denoise, x, now, next)
        levels, fields = older or ((), ())
        field, kept = self.sampler.coordinate.field(first), self.sampler.points - 1
        return x, (done + 1, ((now, *levels)[:kept], (field, *fields)[:kept]))


@dataclass(frozen=True, eq=False)
class InpaintReplacement(Combinator):
    """Inpainting by replacement: after each step the known part of x is resampled from q(x_next | known).

    With Renoised on a RePaint grid this is RePaint: InpaintReplacement(Renoised(DDPM()), known, mask).

    Source: Lugmayr et al. 2022, eq. 8, https://arxiv.org/abs/2201.09865; Song et al. 2021, app. I.2

    Args:
        sampler: takes the steps.
        known: clean image (B, C, H, W).
        mask: true where the image is known, broadcastable with it.
    """

    sampler: Sampler
    known: Tensor
    mask: Tensor

    def __post_init__(self) -> None:
        if self.sampler.repeats_steps:
            raise ValueError(
                f"{self.sampler} repeats each step, which undoes the replacement. Use a sampler without a corrector."
            )

    def step(
        self, denoise: Predict, x: Tensor, now: NoiseLevel, next: NoiseLevel, state: State, noise: NoiseSource
    ) -> tuple[Tensor, State]:
        x, state = self.sampler.step(denoise, x, now, next, state, noise)
        known = self.known * next.alpha
        if not next.clean:
            known = torch.add(known, noise(x, now, next), alpha=float(next.sigma))
        return torch.where(self.mask, known, x), state
