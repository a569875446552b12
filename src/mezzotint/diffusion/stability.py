"""Whether a sampler can walk a grid: told before the first step, for every sampler alike."""

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

USUAL = (0.4, 0.8)  # standard deviations of the Gaussian data on which samplers are tried: images in [-1, 1] have these
MOST = 1.5  # times the spread that is due: what comes out wider is noise that was not removed
LEAST = 0.5  # times what DDIM leaves, whose error is to shrink the data


def settled(grid: Grid) -> Grid:
    """The grid without repetitions, between which there is nothing to do.

    Raises:
        ValueError: there is no step, a level is none, or a step leads from one frame to another at the same noise.
    """
    for i, level in enumerate(grid):
        alpha, sigma = float(level.alpha), float(level.sigma)
        if not (0.0 <= alpha < math.inf and 0.0 <= sigma < math.inf and alpha + sigma):
            raise ValueError(
                f"Level {i} of the grid is {level}: alpha and sigma must be finite, not negative and not both 0."
            )
    grid = tuple(level for level, _ in groupby(grid))
    if len(grid) < 2:
        raise ValueError(f"The grid has {len(grid)} level(s), and a step leads from one to another. Use more steps.")
    for now, next in pairwise(grid):
        if float(now.ratio) == float(next.ratio):
            raise ValueError(
                f"The grid leads from {now} to {next}, which have the same sigma / alpha: no step goes there. Drop one."
            )
    return grid


def check_walk(sampler: Sampler, grid: Grid) -> None:
    """Raise ValueError for a grid that turns, or goes up, where the sampler cannot.

    A grid that only goes up is inversion, and a deterministic sampler's; what remembers earlier steps, or draws noise
    on the way down, has no use for a turn.
    """
    ups = [float(next.ratio) > float(now.ratio) for now, next in pairwise(grid)]
    if any(ups) and not sampler.turns and not (all(ups) and sampler.order is not None):
        raise ValueError(f"{sampler} cannot walk a grid that goes up at step {ups.index(True)}. {RENOISE}")


def check_draw(sampler: Sampler, grid: Grid, signal: float, noise: float) -> None:
    """`check_walk` and `check_spread`, and raise ValueError where a sampler would only undo its own steps."""
    check_walk(sampler, grid)
    if sampler.order is not None and any(float(b.ratio) > float(a.ratio) for a, b in pairwise(grid)):
        raise ValueError(f"{sampler} walks back its own way where the grid goes up, and nothing is gained. {RENOISE}")
    check_spread(sampler, grid, signal, noise)


def check_spread(sampler: Sampler, grid: Grid, signal: float, noise: float) -> None:
    """Raise ValueError where Gaussian data end far wider than they should, or narrower than with DDIM: see `spread`.

    Args:
        signal, noise: x at grid[0] is signal x0 + noise eps.
    """
    if bound(sampler):
        return
    end = grid[-1]
    for std in USUAL:
        start, wanted = math.hypot(signal * std, noise), math.hypot(float(end.alpha) * std, float(end.sigma))
        try:
            reached = spread(sampler, grid, start, std)
        except TypeError:  # a sampler of the user's own that cannot be hashed
            reached = spread.__wrapped__(sampler, grid, start, std)
        least = 0.0 if sampler.order is None else LEAST * spread(DDIM(), tuple(grid), start, std)
        if not least <= reached <= MOST * wanted:
            raise ValueError(
                f"{sampler} goes astray on this grid of {len(grid) - 1} steps: Gaussian data of standard deviation "
                f"{std:g} end with {reached:.3g} in place of {wanted:.3g}. Use more steps, another grid, or a sampler "
                "of lower order, such as DDIM."
            )


RENOISE = "Wrap it as Renoised(...), which draws fresh noise there (sampler=restart), or use a grid that falls."


def bound(sampler: Sampler) -> bool:
    """Whether a sampler holds images of its own, such as `InpaintReplacement`, and draws none of another shape."""
    parts = vars(sampler).values()
    return any(isinstance(part, Tensor) or (isinstance(part, Sampler) and bound(part)) for part in parts)


@lru_cache(maxsize=256)
def spread(sampler: Sampler, grid: Grid, start: float, std: float) -> float:
    """Standard deviation of x at the end of a grid where the data are N(0, std^2): exact, since all steps are linear.

    One example carries the start, and one each of the sampler's draws of noise; their squares add up.
    """
    first, draws = _walked(sampler, grid, start, std, 0)
    if not draws:
        return abs(float(first[0]))
    return float(_walked(sampler, grid, start, std, draws)[0].square().sum().sqrt())


@torch.no_grad()
def _walked(sampler: Sampler, grid: Grid, start: float, std: float, draws: int) -> tuple[Tensor, int]:
    """x at the end, (1 + draws), and how many draws there were."""
    x = torch.zeros(1 + draws, 1, 1, 1, dtype=torch.float64)
    x[0] = start
    drawn = 0

    def noise(x: Tensor, now: NoiseLevel, next: NoiseLevel) -> Tensor:
        nonlocal drawn
        drawn += 1
        z = torch.zeros_like(x)
        if draws:
            z[drawn] = 1.0
        return z

    def denoise(x: Tensor, level: NoiseLevel, **_: Any) -> Prediction:
        alpha, sigma, norm = float(level.alpha), float(level.sigma), float(level.norm)
        scale = alpha * sigma * (1.0 - std**2) / (norm * ((alpha * std) ** 2 + sigma**2))
        return Prediction(x, level, x * scale, -sigma / norm, alpha / norm, torch.zeros_like(x))

    state = sampler.init(grid)
    for now, next in pairwise(grid):
        x, state = sampler.step(denoise, x, now, next, state, noise)
    return x.flatten(), drawn
