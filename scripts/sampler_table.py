"""Measure every sampler on a case with a known answer and write docs/samplers.md: `python scripts/sampler_table.py`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
import yaml
from torch import Tensor

from mezzotint.build import build
from mezzotint.diffusion import NoiseLevel, Schedule, integrate
from mezzotint.diffusion.exact import ExactMixture
from mezzotint.diffusion.grids import Grid
from mezzotint.diffusion.samplers import Sampler

ROOT = Path(__file__).parents[1]
MEANS, STDS, WEIGHTS = (-0.8, 0.6), (0.35, 0.5), (0.4, 0.6)


def catalogue() -> dict[str, Sampler]:
    """Every sampler of configs/sampler, with every number of points that it takes."""
    found: dict[str, Sampler] = {}
    for file in sorted((ROOT / "configs" / "sampler").glob("*.yaml")):
        sampler = build(yaml.safe_load(file.read_text()))
        for variant in variants(sampler):
            if variant not in found.values():
                found[f"{file.stem}-{variant.points}" if hasattr(variant, "points") else file.stem] = variant
    return found


def variants(sampler: Sampler) -> Iterable[Sampler]:
    if not hasattr(sampler, "points"):
        yield sampler
        return
    for points in range(1, 5):
        try:
            yield replace(sampler, points=points)
        except ValueError:
            return


def mixture(schedule: Schedule) -> ExactMixture:
    """A skew mixture of two Gaussians on the line, (B, 1)."""
    means, stds = (torch.tensor(v, dtype=torch.float64).reshape(2, 1) for v in (MEANS, STDS))
    return ExactMixture(schedule, means, stds, torch.tensor(WEIGHTS, dtype=torch.float64))


def quantiles(level: NoiseLevel, p: Tensor) -> Tensor:
    """x with P(x_t < x) = p for the mixture's noisy marginal, by bisection.

    On the line the probability-flow ODE keeps the order of points, so its solutions are these at constant p.
    """
    high = torch.full_like(p, 99.0 * (level.alpha + level.sigma))
    low = -high
    for _ in range(100):
        x = (low + high) / 2
        below = _distribution(level, x) < p
        low, high = torch.where(below, x, low), torch.where(below, high, x)
    return x


def _distribution(level: NoiseLevel, x: Tensor) -> Tensor:
    total = torch.zeros_like(x)
    for w, m, s in zip(WEIGHTS, MEANS, STDS, strict=True):
        total += w * torch.special.ndtr((x - level.alpha * m) / math.hypot(level.alpha * s, level.sigma))
    return total


def error(sampler: Sampler, schedule: Schedule, grid: Grid) -> float:
    """Root mean square error at the end of the grid, in the data's units."""
    p = (torch.arange(16, dtype=torch.float64) + 0.5) / 16
    x = integrate(mixture(schedule), sampler, grid, quantiles(grid[0], p)[:, None])[:, 0]
    return float((x - quantiles(grid[-1], p)).square().mean().sqrt() / grid[-1].alpha)


def slope(errors: Sequence[float], counts: Sequence[int]) -> float:
    """Order of convergence: least squares of log error on log step count."""
    e, n = (torch.tensor(v, dtype=torch.float64).log() for v in (errors, counts))
    n = n - n.mean()
    return -float((n * (e - e.mean())).sum() / (n * n).sum())


def geometric(steps: int, first: float = 300.0, last: float = 0.1) -> Grid:
    """sigma / alpha in a geometric series, in the variance-exploding frame."""
    return tuple(NoiseLevel(1.0, first * (last / first) ** (i / steps)) for i in range(steps + 1))
