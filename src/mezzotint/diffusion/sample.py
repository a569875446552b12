"""The one loop: from level to level down a grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from .denoiser import Denoise
from .grids.spacings import Grid
from .guidance.cfg import check_cfg_pp
from .levels import NoiseLevel
from .noise_sources import WhiteNoise
from .prediction import Prediction
from .schedules.continuous import Schedule
from .stability import check_draw, check_walk, settled

if TYPE_CHECKING:
    from .samplers import Sampler


class NoiseSource(Protocol):
    """Unit normal noise like x for the interval from `now` to `next`."""

    def __call__(self, x: Tensor, now: NoiseLevel, next: NoiseLevel) -> Tensor: ...


@dataclass(frozen=True, slots=True, eq=False)
class StepRecord:
    """One step as it was seen by its sampler.

    Args:
        index: 0 for the first step.
        level: where the step begins.
        x: the state there, (B, C, H, W).
        prediction: the first answer of the denoiser in this step; a churned step asks at a level of its own.
        calls: how often the denoiser has been asked since the trajectory began.
    """

    index: int
    level: NoiseLevel
    x: Tensor
    prediction: Prediction
    calls: int


class _Watched:
    """A Denoise that remembers the first prediction of a step and counts its calls."""

    def __init__(self, inner: Callable[..., Prediction]):
        self.inner, self.calls = inner, 0
        self.first: Prediction | None = None

    def __call__(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction:
        prediction = self.inner(x, level, **cond)
        self.calls += 1
        if self.first is None:
            self.first = prediction
        return prediction


def _randn(x: Tensor, now: NoiseLevel, next: NoiseLevel) -> Tensor:
    return torch.randn_like(x)


def integrate(
    denoise: Denoise,
    sampler: Sampler,
    grid: Grid,
    x: Tensor,
    noise: NoiseSource | None = None,
    watch: Callable[[StepRecord], None] | None = None,
    **cond: Any,
) -> Tensor:
    """Follow the grid from x at grid[0] and return x at grid[-1].

    No gradients are kept; the mode is no_grad and not inference_mode, so that guidance may open gradients again.

    Args:
        denoise: asked at levels; its memory begins anew.
        sampler: makes one step at a time.
        grid: levels to visit, not necessarily ever cleaner.
        x: the state at grid[0]; it is not written to.
        noise: source of noise for stochastic samplers; by default torch's global generator. Named noise begins anew.
        watch: called after each step with its Frame.
        **cond: conditioning by name, handed to the denoiser at each call.

    Raises:
        ValueError: the grid is none that this sampler can walk, or the guidance none that it can follow; told before
            the first step.
    """
    grid = settled(grid)
    check_walk(sampler, grid)
    check_cfg_pp(denoise, sampler)
    if isinstance(noise, WhiteNoise):
        noise = noise.begin()
    elif noise is None:
        noise = _randn
    run: Callable[..., Prediction] = denoise.begin()
    if cond:
        run = partial(run, **cond)
    watched = None if watch is None else _Watched(run)
    with torch.no_grad():
        state = sampler.init(grid)
        for i in range(len(grid) - 1):
            now, before = grid[i], x
            x, state = sampler.step(watched or run, x, now, grid[i + 1], state, noise)
            if watch and watched and watched.first is not None:
                watch(StepRecord(i, now, before, watched.first, watched.calls))
                watched.first = None
    return x


def sample(
    denoise: Denoise,
    sampler: Sampler,
    spacing: Callable[[Schedule], Grid],
    eps: Tensor,
    noise: NoiseSource | None = None,
    watch: Callable[[StepRecord], None] | None = None,
    **cond: Any,
) -> Tensor:
    """Samples from unit noise eps: `integrate` from eps * prior_std along spacing(denoise.schedule).

    Raises:
        ValueError: the sampler cannot walk the grid, or would leave noise on it that hides the data.
    """
    schedule = denoise.schedule
    grid = settled(spacing(schedule))
    start = schedule.prior_std(grid[0])
    check_draw(sampler, grid, 0.0, start)
    return integrate(denoise, sampler, grid, eps * start, noise, watch, **cond)
