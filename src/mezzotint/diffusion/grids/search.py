"""Grids found for one denoiser, once, with a named batch: what they return is a `Listed` that can be saved and used."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ..denoiser import Denoise
from ..levels import NoiseLevel
from ..samplers.base import Sampler
from ..samplers.ddim import DDIM
from .spacings import ExplicitTimes, Grid


@torch.no_grad()
def optimal_grid(denoise: Denoise, grid: Grid, eps: Tensor, steps: int, **cond: Any) -> ExplicitTimes:
    """The `steps` of a fine grid on which DDIM's errors of single steps add up to least, by dynamic programming.

    One trajectory along the fine grid gives x_i and the prediction there; the cost of a step from i to j is the mean
    distance between where that prediction leads and x_j. One network call for each level of the fine grid.

    Source: Chen et al. 2024, sec. 4, https://arxiv.org/abs/2405.11326

    Args:
        denoise: for which the steps are found.
        grid: fine, from noise to clean, 50 to 100 levels.
        eps: unit noise of the batch, a few dozen examples.
        steps: wanted.
        **cond: conditioning by name.
    """
    n = len(grid) - 1
    if not 1 <= steps <= n:
        raise ValueError(f"steps={steps}: a grid of {n} steps has from 1 to {n} to choose. Use a finer grid.")
    run = denoise.begin()
    states, predictions = [eps * denoise.schedule.prior_std(grid[0])], []
    for now, next in pairwise(grid):
        predictions.append(run(states[-1], now, **cond))
        states.append(predictions[-1].mix(next.alpha, next.sigma))
    cost = torch.full((n + 1, n + 1), math.inf, dtype=torch.float64)
    for i, prediction in enumerate(predictions):
        for j in range(i + 1, n + 1):
            miss = prediction.mix(grid[j].alpha, grid[j].sigma) - states[j]
            cost[i, j] = float(miss.flatten(1).norm(dim=1).mean()) / float(grid[j].norm)
    best, choice = cost[:, n], []  # from i to the end in k steps
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
    """Steps as long as an error per step of rtol allows, for this batch: its levels are then frozen for every other.

    A step in the angle atan(sigma / alpha) is compared with its two halves; their difference over 2^p - 1 is the error,
    its largest root mean square over the examples is kept near rtol by the usual controller. An error norm over the
    batch would otherwise make each sample depend on its neighbours.

    Source: Hairer, Norsett and Wanner 1993, Solving Ordinary Differential Equations I, II.4

    Args:
        denoise: for which the steps are found.
        eps: unit noise of the pilot batch.
        rtol: error of a step against the size of x, which is about 1.
        sampler: a deterministic one-step method with a declared order; DDIM by default.
        least: shortest step in the angle.

    Raises:
        ValueError: the error asks for steps shorter than `least`.
    """
    sampler = DDIM() if sampler is None else sampler
    order, schedule, run = sampler.order, denoise.schedule, denoise.begin()
    if order is None:
        raise ValueError(
            f"{sampler} declares no order, so its error cannot be controlled. Use a deterministic sampler."
        )

    def bound(x: Tensor, level: NoiseLevel, **more: Any) -> Any:
        return run(x, level, **cond, **more)

    def at(u: float) -> NoiseLevel:
        return schedule.level(float(schedule.time(NoiseLevel(math.cos(u), math.sin(u))))) if u else schedule.level(0.0)

    def step(x: Tensor, now: NoiseLevel, next: NoiseLevel) -> Tensor:
        return sampler.step(bound, x, now, next, sampler.init((now, next)), None)[0]

    now = schedule.level(schedule.t_max)
    u, x = math.atan2(float(now.sigma), float(now.alpha)), eps * schedule.prior_std(now)
    # below the first entry of a table there is only the step to clean data
    floor = math.atan(float(schedule.level(1.0).ratio)) if schedule.steps else 1e-3 * u
    times, h = [schedule.t_max], u / 10
    while u > floor * (1 + 1e-9):
        h = min(h, u - floor)
        middle, next = at(u - h / 2), at(u - h)
        whole, halves = step(x, now, next), step(step(x, now, middle), middle, next)
        error = (halves - whole).flatten(1).square().mean(1).sqrt().max().item() / (2.0**order - 1) / float(next.norm)
        if error <= rtol:
            u, x, now = u - h, halves, next
            times.append(float(schedule.time(now)))
        h *= min(4.0, max(0.2, 0.9 * (rtol / max(error, 1e-300)) ** (1.0 / (order + 1))))
        if h < least and u - floor > least:
            raise ValueError(
                f"rtol={rtol:g} asks for steps below {least:g} near {now}. Raise rtol or use a higher order."
            )
    return ExplicitTimes(tuple(times))
