"""Inverse problems in one call: samples of x0 given a measurement, by any method, sampler and grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mezzotint.finite import Finite

from .denoiser import Denoise
from .grids.resampling import RePaint
from .grids.spacings import Spacing
from .guidance.measurement import MomentMatching
from .measurement import Conditioned, Measurement, RestorationMethod
from .noise_sources import NoiseSource
from .operators import AveragePooling, GaussianBlur, Grayscale, Mask
from .sample import sample
from .samplers import Sampler
from .samplers.combinators import InpaintReplacement, Renoised


@dataclass(frozen=True)
class Replacement(metaclass=Finite):
    """Inpainting by replacement: after each step the known part of x is drawn from q(x_next | known).

    Source: Song et al. 2021, app. I.2, https://arxiv.org/abs/2011.13456
    """

    replaces: ClassVar[bool] = True

    def condition(self, measurement: Measurement, denoise: Denoise, sampler: Sampler, spacing: Spacing) -> Conditioned:
        """Return the sampler with replacement.

        Raises:
            ValueError: the measurement is not that of a mask, or has noise; or the sampler repeats steps.
        """
        known = self.known(measurement)
        return Conditioned(denoise, InpaintReplacement(sampler, measurement.y, known), spacing)

    def known(self, measurement: Measurement) -> Tensor:
        """Return where a measurement without noise reveals x0. Raises ValueError: it is another one."""
        name, known = type(self).__name__, measurement.operator.revealed()
        if known is None:
            raise ValueError(
                f"{name} is for inpainting, and the measurement is {measurement.operator}. Use DDNM, DPS, PiGDM or "
                "MomentMatching."
            )
        if measurement.std:
            raise ValueError(
                f"{name} keeps the known part as it is, and the measurement has noise of std={measurement.std:g}. Use "
                "DPS, PiGDM or MomentMatching."
            )
        return known


@dataclass(frozen=True)
class RePaintReplacement(Replacement):
    """RePaint: replacement on a grid that returns to higher noise, so that both parts of the image fit together.

    It calls the network `walks` times as often as the grid has steps; those to higher noise call none.

    Source: Lugmayr et al. 2022, algorithm 1, https://arxiv.org/abs/2201.09865

    Args:
        jump: number of steps in a segment.
        walks: number of passes over each segment.
    """

    positive = ("jump", "walks")

    jump: int = 10
    walks: int = 5

    def condition(self, measurement: Measurement, denoise: Denoise, sampler: Sampler, spacing: Spacing) -> Conditioned:
        """Return the grid of RePaint and a sampler for it; raises as that of `Replacement` does."""
        inner = InpaintReplacement(Renoised(sampler), measurement.y, self.known(measurement))
        return Conditioned(denoise, inner, RePaint(spacing, self.jump, self.walks))


def restore(
    denoise: Denoise,
    sampler: Sampler,
    spacing: Spacing,
    eps: Tensor,
    measurement: Measurement,
    method: RestorationMethod | None = None,
    noise: NoiseSource | None = None,
    **cond: Any,
) -> Tensor:
    """Sample x0 (B, C, *size) given a measurement, from unit noise eps of that shape.

    Where a mask reveals x0 without noise, the result equals the measurement in every bit.

    Args:
        method: by default `MomentMatching`.
        noise: as in `integrate`.
        **cond: conditioning by name.

    Raises:
        ValueError: the method does not work with this measurement, or `sample` would refuse sampler and grid.
    """
    chosen = (MomentMatching() if method is None else method).condition(measurement, denoise, sampler, spacing)
    x = sample(*chosen, eps, noise, **cond)
    known = measurement.operator.revealed()
    return x if known is None or measurement.std else torch.where(known, measurement.y, x)


def inpaint(
    denoise: Denoise,
    sampler: Sampler,
    spacing: Spacing,
    eps: Tensor,
    image: Tensor,
    known: Tensor,
    method: RestorationMethod | None = None,
    **options: Any,
) -> Tensor:
    """Fill in the pixels of clean images (B, C, *size) at which the boolean mask `known` is false; see `restore`."""
    return restore(denoise, sampler, spacing, eps, Measurement.of(Mask(known), image), method, **options)


def super_resolve(
    denoise: Denoise,
    sampler: Sampler,
    spacing: Spacing,
    eps: Tensor,
    small: Tensor,
    method: RestorationMethod | None = None,
    **options: Any,
) -> Tensor:
    """Enlarge small images, the means of blocks, to the size of eps; see `restore`.

    Raises:
        ValueError: the sides of eps are not one multiple of those of the small images.
    """
    ratios = {large / side for large, side in zip(eps.shape[2:], small.shape[2:], strict=True)}
    factor = ratios.pop()
    if ratios or factor != int(factor):
        raise ValueError(
            f"images of {list(small.shape[2:])} cannot be enlarged to {list(eps.shape[2:])}: every side must be the "
            "same multiple."
        )
    return restore(denoise, sampler, spacing, eps, Measurement(AveragePooling(int(factor)), small), method, **options)


def deblur(
    denoise: Denoise,
    sampler: Sampler,
    spacing: Spacing,
    eps: Tensor,
    blurred: Tensor,
    width: float = 1.0,
    method: RestorationMethod | None = None,
    **options: Any,
) -> Tensor:
    """Sharpen images (B, C, *size) that a Gaussian of deviation `width` pixels has blurred; see `restore`."""
    return restore(denoise, sampler, spacing, eps, Measurement(GaussianBlur(width), blurred), method, **options)


def colorize(
    denoise: Denoise,
    sampler: Sampler,
    spacing: Spacing,
    eps: Tensor,
    gray: Tensor,
    method: RestorationMethod | None = None,
    **options: Any,
) -> Tensor:
    """Colour grey images (B, 1, H, W), whose values are the luma of the result; see `restore`."""
    return restore(denoise, sampler, spacing, eps, Measurement(Grayscale(), gray), method, **options)
