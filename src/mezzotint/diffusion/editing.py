"""Image editing (SDEdit), inversion, interpolation and variations with a denoiser, a sampler and a grid."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mezzotint.devices import finest

from .denoiser import Denoise
from .grids.spacings import Grid
from .levels import cast_like
from .noise_sources import NoiseSource
from .sample import integrate, sample
from .samplers import Sampler
from .schedules.continuous import Schedule
from .stability import check_draw, check_spread, validated_grid


def edit(
    denoise: Denoise,
    sampler: Sampler,
    spacing: Callable[[Schedule], Grid],
    image: Tensor,
    eps: Tensor,
    strength: float = 0.5,
    noise: NoiseSource | None = None,
    **cond: Any,
) -> Tensor:
    """SDEdit: add noise to an image up to a level of the grid, then sample along the rest of it.

    Source: Meng et al. 2021, algorithm 1, https://arxiv.org/abs/2108.01073

    Args:
        image: clean images (B, C, H, W).
        eps: unit noise of the same shape.
        strength: fraction of the grid's steps that are taken, at its end; 0 returns the image, 1 discards it.
        noise: as in `integrate`.
        **cond: conditioning by name.

    Raises:
        ValueError: strength is outside [0, 1], or `sample` would refuse the grid.
    """
    if not 0.0 <= strength <= 1.0:
        raise ValueError(f"strength={strength} is a fraction of the steps. Give a number from 0 to 1.")
    grid = validated_grid(spacing(denoise.schedule))
    grid = grid[round((1.0 - strength) * (len(grid) - 1)) :]
    x = grid[0].perturb(image, eps)
    if len(grid) == 1:
        return x
    check_draw(sampler, grid, float(grid[0].alpha), float(grid[0].sigma))
    return integrate(denoise, sampler, grid, x, noise, **cond)


def invert(
    denoise: Denoise, sampler: Sampler, spacing: Callable[[Schedule], Grid], image: Tensor, **cond: Any
) -> Tensor:
    """Return the unit noise from which `sample` generates this image: the ODE solved along the reversed grid.

    It starts at the grid's least noisy level rather than at 0, where no network can be called.

    Source: Song et al. 2020, sec. 5.4, https://arxiv.org/abs/2010.02502

    Raises:
        ValueError: the sampler is stochastic, `sample` would refuse the grid, or the inversion diverges on it.
    """
    if sampler.order is None:
        raise ValueError(
            f"{sampler} is stochastic, and a stochastic path cannot be inverted. Use eta=0 or an ODE sampler."
        )
    schedule = denoise.schedule
    grid = validated_grid(spacing(schedule))
    check_draw(sampler, grid, 0.0, schedule.prior_std(grid[0]))
    if len(grid) < 3:
        raise ValueError(
            "A grid of one step leads from noise to clean data, where no network can be called, so there is nothing to "
            "invert. Use 2 steps or more."
        )
    grid = grid[-2::-1]
    check_spread(sampler, grid, float(grid[0].alpha), 0.0)
    x = integrate(denoise, sampler, grid, image * float(grid[0].alpha), **cond)
    return x / schedule.prior_std(grid[-1])


def slerp(a: Tensor, b: Tensor, w: Tensor | float) -> Tensor:
    """Return sin((1 - w) angle) / sin(angle) a + sin(w angle) / sin(angle) b per example; unit noise stays unit noise.

    Source: Shoemake 1985, https://doi.org/10.1145/325165.325242; Song et al. 2020, app. D.5

    Args:
        a, b: unit noise (B, ...).
        w: weight of b from 0 to 1, a number or (B,).
    """
    flat = finest(a.flatten(1)), finest(b.flatten(1))
    cosine = torch.cosine_similarity(*flat, dim=1).clamp(-1.0, 1.0)
    angle = cosine.acos()
    w = cast_like(torch.as_tensor(w, dtype=angle.dtype), angle).expand_as(angle)
    straight = angle.sin() < 1e-6
    sine = torch.where(straight, 1.0, angle.sin())
    on_a = torch.where(straight, 1.0 - w, ((1.0 - w) * angle).sin() / sine)
    on_b = torch.where(straight, w, (w * angle).sin() / sine)
    shape = (-1, *(1,) * (a.ndim - 1))
    return on_a.reshape(shape).to(a) * a + on_b.reshape(shape).to(a) * b


def interpolate_images(
    denoise: Denoise,
    sampler: Sampler,
    spacing: Callable[[Schedule], Grid],
    first: Tensor,
    last: Tensor,
    w: Tensor | float = 0.5,
    **cond: Any,
) -> Tensor:
    """Return the images between two batches (B, C, H, W): both inverted, their noises mixed by `slerp`, and sampled.

    Source: Song et al. 2020, sec. 5.3 and app. D.5, https://arxiv.org/abs/2010.02502

    Args:
        w: weight of `last` from 0 to 1, a number or (B,).
        **cond: conditioning of all images.

    Raises:
        ValueError: as `invert`.
    """
    one, other = (invert(denoise, sampler, spacing, image, **cond) for image in (first, last))
    return sample(denoise, sampler, spacing, slerp(one, other, w), **cond)


def vary(
    denoise: Denoise,
    sampler: Sampler,
    spacing: Callable[[Schedule], Grid],
    image: Tensor,
    eps: Tensor,
    strength: float = 0.3,
    **cond: Any,
) -> Tensor:
    """Return variations of images (B, C, H, W): inverted, their noise rotated towards fresh noise, and sampled.

    Args:
        eps: fresh unit noise of the same shape.
        strength: share of fresh noise; 0 reconstructs the image, 1 is a sample that has nothing of it.

    Raises:
        ValueError: strength is outside [0, 1], or as `invert`.
    """
    if not 0.0 <= strength <= 1.0:
        raise ValueError(f"strength={strength} is the share of fresh noise. Give a number from 0 to 1.")
    noise = invert(denoise, sampler, spacing, image, **cond)
    return sample(denoise, sampler, spacing, slerp(noise, eps.to(noise), strength), **cond)
