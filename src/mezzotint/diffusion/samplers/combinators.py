"""Samplers made of samplers."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..coordinates import FlowCoordinate
from ..gaussian import transition
from ..grids.spacings import Grid
from ..levels import NoiseLevel
from .base import Sampler, State, rho
from .multistep import Multistep
from .predictor_corrector import PredictorCorrector
from .runge_kutta import RungeKutta
from .warm_start import run_up

AGAIN = object()  # the state of a sampler that is to begin anew


@dataclass(frozen=True)
class Renoised(Sampler):
    """A step to a noisier level draws from q(x_next | x_now) and makes the sampler begin anew; other steps are its own.

    On a grid that goes up and down again this is Restart, or RePaint's resampling. (A deterministic sampler alone on
    a grid that goes up is inversion.)

    Source: Xu et al. 2023, algorithm 1, https://arxiv.org/abs/2306.14878; Lugmayr et al. 2022,
    https://arxiv.org/abs/2201.09865
    """

    sampler: Sampler

    @property
    def weak_order(self) -> int | None:  # type: ignore[override]
        return self.sampler.order or self.sampler.weak_order

    @property
    def calls(self) -> int | None:  # type: ignore[override]
        return self.sampler.calls

    @property
    def cfg_pp(self) -> bool:
        return self.sampler.cfg_pp

    def init(self, grid: Grid) -> State:
        return grid, self.sampler.init(grid)

    def step(
        self, denoise: Any, x: Tensor, now: NoiseLevel, next: NoiseLevel, state: State, noise: Any
    ) -> tuple[Tensor, State]:
        grid, inner = state
        if rho(next) > rho(now):
            factor, variance = transition(now, next)
            return torch.add(x * factor, noise(x, now, next), alpha=float(variance) ** 0.5), (grid, AGAIN)
        if inner is AGAIN:
            inner = self.sampler.init((now, *grid[1:]))
        x, inner = self.sampler.step(denoise, x, now, next, inner, noise)
        return x, (grid, inner)


def retakes(sampler: Sampler) -> bool:
    """Whether it takes its last step again, from where that began: what was done to x in between would be lost."""
    if isinstance(sampler, Renoised):
        return retakes(sampler.sampler)
    return isinstance(sampler, PredictorCorrector) and sampler.corrector > 0


@dataclass(frozen=True)
class EDMStochastic(Sampler):
    r"""EDM's stochastic sampler: a little noise, then the sampler from the raised level.

    sigma^ = (1 + g) sigma, x^ = x + sqrt(sigma^^2 - sigma^2) S_noise z, and
    g = min(S_churn / N, sqrt(2) - 1) where S_tmin <= sigma / alpha <= S_tmax, else 0; N is the number of steps. With
    Heun(Noise()) it is algorithm 2. The noise is exact, so the weak order is the sampler's own while S_noise = 1.

    Source: Karras et al. 2022, algorithm 2, https://arxiv.org/abs/2206.00364

    Args:
        sampler: a one-step sampler.
        s_churn: S_churn, the noise added over the whole trajectory.
        s_tmin, s_tmax: S_tmin and S_tmax, the band of sigma / alpha in which noise is added.
        s_noise: S_noise; above 1 it makes up for a network that removes too much noise, and inflates the variance.
    """

    positive = ("s_tmax",)
    natural = ("s_churn", "s_tmin", "s_noise")

    sampler: Sampler
    s_churn: float = 40.0
    s_tmin: float = 0.05
    s_tmax: float = 50.0
    s_noise: float = 1.003

    def __post_init__(self) -> None:
        if isinstance(self.sampler, Multistep | PredictorCorrector | WarmStarted):
            raise ValueError(f"{self.sampler} extrapolates along a path, and churn leaves it. Use a one-step sampler.")

    @property
    def weak_order(self) -> int | None:  # type: ignore[override]
        return self.sampler.order or self.sampler.weak_order

    @property
    def calls(self) -> int | None:  # type: ignore[override]
        return self.sampler.calls

    @property
    def turns(self) -> bool:
        return self.sampler.turns

    @property
    def cfg_pp(self) -> bool:
        return self.sampler.cfg_pp

    def init(self, grid: Grid) -> State:
        return min(self.s_churn / max(len(grid) - 1, 1), math.sqrt(2.0) - 1.0), self.sampler.init(grid)

    def step(
        self, denoise: Any, x: Tensor, now: NoiseLevel, next: NoiseLevel, state: State, noise: Any
    ) -> tuple[Tensor, State]:
        gain, inner = state
        if gain and now.alpha and self.s_tmin <= rho(now) <= self.s_tmax:
            raised = NoiseLevel(now.alpha, now.sigma * (1.0 + gain))
            std = self.s_noise * float(raised.sigma**2 - now.sigma**2) ** 0.5
            x, now = torch.add(x, noise(x, now, raised), alpha=std), raised
        x, inner = self.sampler.step(denoise, x, now, next, inner, noise)
        return x, (gain, inner)


@dataclass(frozen=True)
class LangevinCorrected(Sampler):
    r"""Predictor-corrector: after each step, n steps of Langevin dynamics at the level reached.

    x <- x + e score + sqrt(2 e) z with e = 2 (snr sigma)^2. The paper sets e = 2 (snr |z| / |score|)^2 with norms over
    the batch; their expected ratio, sigma, keeps each sample independent of its neighbours.

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
        if retakes(self.sampler):
            raise ValueError(f"{self.sampler} takes each step twice, which undoes the Langevin steps. Use another.")

    @property
    def calls(self) -> int | None:  # type: ignore[override]
        return self.sampler.calls and self.sampler.calls + self.n

    @property
    def turns(self) -> bool:
        return self.sampler.turns

    def init(self, grid: Grid) -> State:
        return self.sampler.init(grid)

    def step(
        self, denoise: Any, x: Tensor, now: NoiseLevel, next: NoiseLevel, state: State, noise: Any
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
    """A multistep sampler whose first steps are taken by a Runge-Kutta method, so that it begins with a full history.

    PNDM is Started(IPNDM(4), RK4(Noise()), 3), and with Heun(Noise()) and one step it is PLMS; the middle of a
    Runge-Kutta step lies in the coordinate here and in t there. Started(LMS(4, Flow()), RK4(), 3) keeps its order 4
    from pure noise to clean data.

    Source: Liu et al. 2022, algorithm 2, https://arxiv.org/abs/2202.09778

    Args:
        sampler: the multistep sampler.
        start: the method of the first steps.
        steps: how many; points - 1 fill the history.
    """

    sampler: Multistep
    start: RungeKutta
    steps: int = 3

    @property
    def order(self) -> int | None:  # type: ignore[override]
        return self.sampler.order

    @property
    def order_from_noise(self) -> int | None:
        return self.order if isinstance(self.sampler.coordinate, FlowCoordinate) else self.sampler.order_from_noise

    @property
    def weak_order(self) -> int | None:  # type: ignore[override]
        return self.sampler.weak_order

    @property
    def calls(self) -> int | None:  # type: ignore[override]
        return self.sampler.calls

    @property
    def turns(self) -> bool:
        return False

    def init(self, grid: Grid) -> State:
        return 0, None

    def step(
        self, denoise: Any, x: Tensor, now: NoiseLevel, next: NoiseLevel, state: State, noise: Any
    ) -> tuple[Tensor, State]:
        taken, older = state
        if taken >= self.steps:
            x, older = self.sampler.step(denoise, x, now, next, older, noise)
            return x, (taken, older)
        x, ((_, first), *_) = run_up(self.start, denoise, x, now, next)
        levels, fields = older or ((), ())
        field, kept = self.sampler.coordinate.field(first), self.sampler.points - 1
        return x, (taken + 1, ((now, *levels)[:kept], (field, *fields)[:kept]))
