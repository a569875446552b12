"""Checks that a sampler supports a grid, made before the first step and the same for every sampler."""

import math
from functools import lru_cache
from itertools import groupby, pairwise
from typing import Any

import torch
from torch import Tensor

from .grids.spacings import Grid
from .levels import NoiseLevel
from .prediction import Prediction
from .samplers.base import Sampler
from .samplers.ddim import DDIM

DATA_STDS = (0.4, 0.8)  # of the Gaussian data on which samplers are tested; typical of images in [-1, 1]
MOST = 1.5  # times the data's standard deviation: anything wider is noise that was not removed
LEAST = 0.5  # times DDIM's result, whose error shrinks the data


def validated_grid(grid: Grid) -> Grid:
    """Return the grid without consecutive duplicates.

    Raises:
        ValueError: the grid has no step, a level is invalid, or a step keeps sigma / alpha and changes the frame only.
    """
    for i, level in enumerate(grid):
        alpha, sigma = float(level.alpha), float(level.sigma)
        if not (0.0 <= alpha < math.inf and 0.0 <= sigma < math.inf and alpha + sigma):
            raise ValueError(
                f"Level {i} of the grid is {level}: alpha and sigma must be finite, not negative and not both 0."
            )
    grid = tuple(level for level, _ in groupby(grid))
    if len(grid) < 2:
        raise ValueError(f"The grid has {len(grid)} level(s), and a step needs two. Use more steps.")
    for now, next in pairwise(grid):
        if float(now.ratio) == float(next.ratio):
            raise ValueError(
                f"The grid leads from {now} to {next}, which have the same sigma / alpha: no step is needed. Drop one."
            )
    return grid


def check_walk(sampler: Sampler, grid: Grid) -> None:
    """Raise ValueError for a grid with steps to more noise that the sampler does not support.

    A grid of increasing noise alone is inversion, which deterministic samplers support. A grid in both directions is
    for samplers with `turns`: neither earlier predictions nor ancestral noise are valid across a turn.
    """
    ups = [float(next.ratio) > float(now.ratio) for now, next in pairwise(grid)]
    if any(ups) and not sampler.turns and not (all(ups) and sampler.order is not None):
        raise ValueError(f"{sampler} does not support grid step {ups.index(True)}, to a noisier level. {RENOISE}")


def check_draw(sampler: Sampler, grid: Grid, signal: float, noise: float) -> None:
    """Raise ValueError as `check_walk` and `check_spread` do, and where an ODE sampler would only retrace its path."""
    check_walk(sampler, grid)
    if sampler.order is not None and any(float(b.ratio) > float(a.ratio) for a, b in pairwise(grid)):
        raise ValueError(f"{sampler} only retraces its deterministic path where the grid gets noisier. {RENOISE}")
    check_spread(sampler, grid, signal, noise)


def check_spread(sampler: Sampler, grid: Grid, signal: float, noise: float) -> None:
    """Raise ValueError if Gaussian data end with far too large a standard deviation, or one far below DDIM's.

    Args:
        sampler: the sampler.
        grid: the levels to visit.
        signal, noise: x at grid[0] is signal x0 + noise eps.
    """
    if holds_images(sampler):
        return
    end = grid[-1]
    for std in DATA_STDS:
        start, expected = math.hypot(signal * std, noise), math.hypot(float(end.alpha) * std, float(end.sigma))
        try:
            reached = spread(sampler, grid, start, std)
        except TypeError:  # a user-defined sampler that is not hashable
            reached = spread.__wrapped__(sampler, grid, start, std)
        least = 0.0 if sampler.order is None else LEAST * spread(DDIM(), tuple(grid), start, std)
        if not least <= reached <= MOST * expected:
            raise ValueError(
                f"{sampler} is unstable on this grid of {len(grid) - 1} steps: Gaussian data of standard deviation "
                f"{std:g} end with {reached:.3g} instead of {expected:.3g}. Use more steps, another grid, or a sampler "
                "of lower order, such as DDIM."
            )


RENOISE = "Wrap it in Renoised(...), which adds fresh noise there (sampler=restart), or use a grid of decreasing noise."


def holds_images(sampler: Sampler) -> bool:
    """Return whether a sampler holds images, as `InpaintReplacement` does, and so only supports their shape."""
    parts = vars(sampler).values()
    return any(isinstance(part, Tensor) or (isinstance(part, Sampler) and holds_images(part)) for part in parts)


@lru_cache(maxsize=256)
def spread(sampler: Sampler, grid: Grid, start: float, std: float) -> float:
    """Return the standard deviation of x at the end of a grid for data N(0, std^2): exact, since all steps are linear.

    One example carries the initial x, and one each of the sampler's noise samples; their squares add up.
    """
    first, draws = _propagated(sampler, grid, start, std, 0)
    if not draws:
        return abs(float(first[0]))
    return float(_propagated(sampler, grid, start, std, draws)[0].square().sum().sqrt())


@torch.no_grad()
def _propagated(sampler: Sampler, grid: Grid, start: float, std: float, draws: int) -> tuple[Tensor, int]:
    """Return x at the end, (1 + draws,), and the number of noise samples."""
    x = torch.zeros(1 + draws, 1, 1, 1, dtype=torch.float64)
    x[0] = start
    used = 0

    def noise(x: Tensor, now: NoiseLevel, next: NoiseLevel) -> Tensor:
        nonlocal used
        used += 1
        z = torch.zeros_like(x)
        if draws:
            z[used] = 1.0
        return z

    def denoise(x: Tensor, level: NoiseLevel, **_: Any) -> Prediction:
        alpha, sigma, norm = float(level.alpha), float(level.sigma), float(level.norm)
        scale = alpha * sigma * (1.0 - std**2) / (norm * ((alpha * std) ** 2 + sigma**2))
        return Prediction(x, level, x * scale, -sigma / norm, alpha / norm, torch.zeros_like(x))

    state = sampler.init(grid)
    for now, next in pairwise(grid):
        x, state = sampler.step(denoise, x, now, next, state, noise)
    return x.flatten(), used
