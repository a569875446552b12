"""Grid search for one denoiser on a given batch; the result is an `ExplicitTimes` that can be saved and reused."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from .denoiser import Denoise
from .grids.spacings import ExplicitTimes, Grid
from .levels import NoiseLevel
from .noise_sources import global_noise
from .prediction import Prediction
from .samplers.base import Sampler
from .samplers.ddim import DDIM


@torch.no_grad()
def optimal_grid(denoise: Denoise, grid: Grid, eps: Tensor, steps: int, **cond: Any) -> ExplicitTimes:
    """Return the `steps` times of a fine grid with the least sum of one-step DDIM errors, by dynamic programming.

    A trajectory along the fine grid gives x_i and its prediction; the cost of a step from i to j is the mean distance
    between the DDIM step from i and x_j. One network call per level of the fine grid.

    Source: Chen et al. 2024, sec. 4, https://arxiv.org/abs/2405.11326

    Args:
        denoise: the denoiser to optimise the grid for.
        grid: fine, from noise to clean, 50 to 100 levels.
        eps: unit noise of the batch, a few dozen examples.
        steps: number of steps of the result.
        **cond: conditioning by name.
    """
    n = len(grid) - 1
    if not 1 <= steps <= n:
        raise ValueError(f"steps={steps}: choose from 1 to {n} steps of a grid of {n}, or use a finer grid.")
    run = denoise.begin()
    states, predictions = [eps * denoise.schedule.prior_std(grid[0])], []
    for now, next in pairwise(grid):
        predictions.append(run(states[-1], now, **cond))
        states.append(predictions[-1].mix(next.alpha, next.sigma))
    cost = torch.full((n + 1, n + 1), math.inf, dtype=torch.float64)
    for i, prediction in enumerate(predictions):
        for j in range(i + 1, n + 1):
            error = prediction.mix(grid[j].alpha, grid[j].sigma) - states[j]
            cost[i, j] = float(error.flatten(1).norm(dim=1).mean()) / float(grid[j].norm)
    best, choice = cost[:, n], []  # minimum cost from i to the end in k steps
    for _ in range(steps - 1):
        total = cost + best
        best, following = total.min(1)
        choice.append(following)
    path = [0]
    for following in reversed(choice):
        path.append(int(following[path[-1]]))
    return ExplicitTimes(tuple(float(denoise.schedule.time(grid[i])) for i in path))


@torch.no_grad()
def adaptive_grid(
    denoise: Denoise,
    eps: Tensor,
    rtol: float = 1e-2,
    sampler: Sampler | None = None,
    least: float = 1e-4,
    **cond: Any,
) -> ExplicitTimes:
    """Return the grid of an adaptive solver with error rtol per step on this batch, to be used as a fixed grid.

    A step in the angle atan(sigma / alpha) is compared with its two halves; their difference over 2^p - 1 is the error,
    and its largest root mean square over the examples is kept near rtol by the standard step-size controller. The grid
    is then fixed for all other batches, because an error norm over the batch makes samples depend on each other.

    Source: Hairer, Norsett and Wanner 1993, Solving Ordinary Differential Equations I, II.4

    Args:
        denoise: the denoiser to optimise the grid for.
        eps: unit noise of the pilot batch.
        rtol: error per step relative to the norm of x per dimension, which is about 1.
        sampler: a deterministic one-step method with a declared order; DDIM by default.
        least: the shortest step, in the angle (radians).

    Raises:
        ValueError: the tolerance requires steps shorter than `least`, or the sampler declares no order.
    """
    sampler = DDIM() if sampler is None else sampler
    order, schedule, run = sampler.order, denoise.schedule, denoise.begin()
    if order is None:
        raise ValueError(
            f"{sampler} declares no order, so its error cannot be controlled. Use a deterministic sampler."
        )

    def conditioned(x: Tensor, level: NoiseLevel, /, **more: Any) -> Prediction:
        return run(x, level, **cond, **more)

    def at(u: float) -> NoiseLevel:
        return schedule.level(float(schedule.time(NoiseLevel(math.cos(u), math.sin(u))))) if u else schedule.level(0.0)

    def step(x: Tensor, now: NoiseLevel, next: NoiseLevel) -> Tensor:
        return sampler.step(conditioned, x, now, next, sampler.init((now, next)), global_noise)[0]

    now = schedule.level(schedule.t_max)
    u, x = math.atan2(float(now.sigma), float(now.alpha)), eps * schedule.prior_std(now)
    # below the first entry of a table only the step to clean data is left
    floor = math.atan(float(schedule.level(1.0).ratio)) if schedule.steps else 1e-3 * u
    times, h = [schedule.t_max], u / 10
    while u > floor * (1 + 1e-9):
        h = min(h, u - floor)
        middle, next = at(u - h / 2), at(u - h)
        full, halves = step(x, now, next), step(step(x, now, middle), middle, next)
        error = (halves - full).flatten(1).square().mean(1).sqrt().max().item() / (2.0**order - 1) / float(next.norm)
        if error <= rtol:
            u, x, now = u - h, halves, next
            times.append(float(schedule.time(now)))
        h *= min(4.0, max(0.2, 0.9 * (rtol / max(error, 1e-300)) ** (1.0 / (order + 1))))
        if h < least and u - floor > least:
            raise ValueError(
                f"rtol={rtol:g} requires steps below {least:g} near {now}. Raise rtol or use a sampler of higher order."
            )
    return ExplicitTimes(tuple(times))
