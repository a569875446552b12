"""Interpolation between samples through their noises."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.diffusion import KeyedRandom, NoiseLevel, NoiseSource, WhiteNoise, broadcast_like
from mezzotint.diffusion.noise_sources import restarted
from mezzotint.generation.generator import Progress, SampleGenerator


@dataclass(frozen=True)
class SlerpNoise:
    """cos(angle) first + sin(angle) last: standard normal at every angle, since the two are independent.

    Shoemake's slerp uses the actual angle between the two tensors, which is close to a right angle in many dimensions;
    with the right angle itself the sum is exactly normal.

    Sources: Shoemake 1985, https://doi.org/10.1145/325165.325242; Song et al. 2021, sec. 5.3 and app. D.5,
    https://arxiv.org/abs/2010.02502

    Args:
        first, last: noise sources, each for the full batch.
        angle: float64 (B,), 0 for the first and pi / 2 for the last.
    """

    first: NoiseSource
    last: NoiseSource
    angle: Tensor

    def begin(self) -> "SlerpNoise":
        """Return the source in its initial state."""
        return SlerpNoise(restarted(self.first), restarted(self.last), self.angle)

    def __call__(self, x: Tensor, now: NoiseLevel, next: NoiseLevel) -> Tensor:
        return mix(self.first(x, now, next), self.last(x, now, next), self.angle)


def mix(first: Tensor, last: Tensor, angle: Tensor) -> Tensor:
    """Return cos(angle) first + sin(angle) last, with one angle per image (B,)."""
    return broadcast_like(angle.cos(), first) * first + broadcast_like(angle.sin(), last) * last


def interpolate(
    generator: SampleGenerator, pairs: Sequence[tuple[int, int]], points: int = 9, progress: Progress | None = None
) -> tuple[Tensor, Tensor | None]:
    """Interpolate between the samples of each pair in even steps: stored (pairs, points, C, *size), labels (pairs,).

    The initial noise and that of every step are interpolated, so both ends are the samples of those numbers with any
    sampler. A row has the class of its first sample: choose pairs of one class to end at the second sample.

    Args:
        points: images per row, including both ends.
        progress: called with the number of images in each batch.

    Raises:
        ValueError: fewer than two points, or no pair.
    """
    if points < 2 or not pairs:
        raise ValueError(f"points={points}, {len(pairs)} pairs: give at least one pair and 2 points")
    firsts, lasts = torch.tensor(pairs, dtype=torch.int64).T.repeat_interleave(points, dim=1)
    shares = torch.arange(points, dtype=torch.float64) / (points - 1)
    angles = (shares * (math.pi / 2)).repeat(len(pairs))
    parts = []
    for first, last, angle in zip(*(each.split(generator.batch) for each in (firsts, lasts, angles)), strict=True):
        parts.append(generator.codec.decode(between(generator, first, last, angle)).cpu())
        if progress:
            progress(len(first))
    images = torch.cat(parts).unflatten(0, (len(pairs), points))
    return images, generator.labels(firsts[::points])


def between(generator: SampleGenerator, first: Tensor, last: Tensor, angle: Tensor) -> Tensor:
    """Return a batch of float32 samples between those of the numbers `first` and `last`."""
    ends = [KeyedRandom(generator.seed, index) for index in (first, last)]
    start = mix(*(draws.normal("sample", generator.shape) for draws in ends), angle)
    steps = SlerpNoise(WhiteNoise(ends[0]), WhiteNoise(ends[1]), angle)
    return generator.sample_from(start, generator.given(first), steps)
