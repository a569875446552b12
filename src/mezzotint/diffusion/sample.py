"""The sampling loop: one sampler step per interval of a grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .denoiser import Denoise, Predict
from .grids.spacings import Grid
from .guidance.cfg import check_cfg_pp
from .levels import NoiseLevel
from .noise_sources import NoiseSource, restarted
from .prediction import Prediction
from .schedules.continuous import Schedule
from .stability import check_draw, check_walk, validated_grid

if TYPE_CHECKING:
    from .samplers import Sampler


@dataclass(frozen=True, slots=True, eq=False)
class StepRecord:
    """One step of a trajectory.

    Args:
        index: number of the step, from 0.
        level: the level at the start of the step.
        x: the state there, (B, C, H, W).
        prediction: the denoiser's first prediction in this step; `EDMStochastic` makes it at a raised level.
        calls: denoiser calls since the start of the trajectory.
    """

    index: int
    level: NoiseLevel
    x: Tensor
    prediction: Prediction
    calls: int


class _Recorder:
    """A denoiser that keeps the first prediction of a step and counts calls."""

    def __init__(self, inner: Predict):
        self.inner, self.calls = inner, 0
        self.first: Prediction | None = None

    def __call__(self, x: Tensor, level: NoiseLevel, /, **cond: Any) -> Prediction:
        prediction = self.inner(x, level, **cond)
        self.calls += 1
        if self.first is None:
            self.first = prediction
        return prediction


def integrate(
    denoise: Denoise,
    sampler: Sampler,
    grid: Grid,
    x: Tensor,
    noise: NoiseSource | None = None,
    watch: Callable[[StepRecord], None] | None = None,
    **cond: Any,
) -> Tensor:
    """Step from x at grid[0] along the grid and return x at grid[-1].

    Runs under no_grad rather than inference_mode, so that guidance can re-enable gradients.

    Args:
        denoise: the denoiser, with or without guidance; its memory is reset.
        sampler: takes the steps.
        grid: the levels to visit; not necessarily decreasing in noise.
        x: the state at grid[0], (B, C, H, W); not modified.
        noise: noise for stochastic samplers, by default torch's global generator; a source with memory is reset.
        watch: called with a `StepRecord` after each step.
        **cond: conditioning by name, passed to every denoiser call.

    Raises:
        ValueError: the sampler does not support the grid or the guidance; raised before the first step.
    """
    grid = validated_grid(grid)
    check_walk(sampler, grid)
    check_cfg_pp(denoise, sampler)
    noise = restarted(noise)
    run: Predict = denoise.begin()
    if cond:
        run = partial(run, **cond)
    recorder = None if watch is None else _Recorder(run)
    with torch.no_grad():
        state = sampler.init(grid)
        for i in range(len(grid) - 1):
            now, before = grid[i], x
            x, state = sampler.step(recorder or run, x, now, grid[i + 1], state, noise)
            if watch and recorder and recorder.first is not None:
                watch(StepRecord(i, now, before, recorder.first, recorder.calls))
                recorder.first = None
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
    """Sample from unit noise eps (B, C, H, W): `integrate` from eps * prior_std along spacing(denoise.schedule).

    Raises:
        ValueError: the sampler does not support the grid, or its error on this grid would swamp the data.
    """
    schedule = denoise.schedule
    grid = validated_grid(spacing(schedule))
    start = schedule.prior_std(grid[0])
    check_draw(sampler, grid, 0.0, start)
    return integrate(denoise, sampler, grid, eps * start, noise, watch, **cond)
