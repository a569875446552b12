"""Noise for stochastic samplers, from keyed streams: white noise, or increments of a Brownian path."""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from mezzotint.randomness import KeyedRandom

from .levels import NoiseLevel


class NoiseSource(Protocol):
    """Standard normal noise shaped like x, for the interval from `now` to `next`."""

    def __call__(self, x: Tensor, now: NoiseLevel, next: NoiseLevel) -> Tensor: ...


@runtime_checkable
class StatefulNoise(NoiseSource, Protocol):
    """A noise source with memory, which is reset before each trajectory."""

    def begin(self) -> NoiseSource:
        """Return the source in its initial state."""
        ...


def global_noise(x: Tensor, now: NoiseLevel, next: NoiseLevel) -> Tensor:
    """White noise from torch's global generator."""
    return torch.randn_like(x)


def restarted(noise: NoiseSource | None) -> NoiseSource:
    """Return the noise source for a new trajectory: reset if it has memory; the global generator for None."""
    if isinstance(noise, StatefulNoise):
        return noise.begin()
    return global_noise if noise is None else noise


class BrownianNoise:
    """One Brownian path per sample, shared by all step sizes: a coarser grid follows the same path.

    The path runs in SNR = alpha^2 / sigma^2, in which the noise of an ancestral step is an increment. Between the
    levels of `reference` the increments are keyed draws, so a step may lead from any of them to any cleaner one.

    Source: Kidger et al. 2021, sec. 3.3, for Brownian paths from named seeds, https://arxiv.org/abs/2105.13493

    Args:
        draws: the random stream; its `index` identifies the samples of the batch.
        reference: the finest grid, from noise to clean; it must contain every visited level, in any frame.
        purpose: the stream's name.
    """

    def __init__(self, draws: KeyedRandom, reference: tuple[NoiseLevel, ...], purpose: str = "sample"):
        self.draws, self.purpose = draws, purpose
        self.snr = [_snr(level) for level in reference if level.sigma]

    def __call__(self, x: Tensor, now: NoiseLevel, next: NoiseLevel) -> Tensor:
        first, last = self._find(now), self._find(next)
        if first >= last:
            raise ValueError(f"BrownianNoise only steps to cleaner levels, and {next} is not cleaner than {now}.")
        draws, length = self.draws.to(x.device), self.snr[last] - self.snr[first]
        total = torch.zeros_like(x)
        for k in range(first, last):
            share = ((self.snr[k + 1] - self.snr[k]) / length) ** 0.5
            total += share * draws.normal(self.purpose, x.shape[1:], k).to(x)
        return total

    def _find(self, level: NoiseLevel) -> int:
        snr = _snr(level)
        k = bisect_left(self.snr, snr * (1.0 - 1e-9))
        if k == len(self.snr) or abs(self.snr[k] - snr) > 1e-9 * snr:
            raise ValueError(f"{level} is not in the reference grid. Include every visited level in `reference`.")
        return k


def _snr(level: NoiseLevel) -> float:
    return 0.0 if level.ratio == math.inf else float(level.ratio) ** -2


class WhiteNoise:
    """Independent keyed noise for each call of a trajectory: call k of sample i is f(seed, purpose, i, k).

    Args:
        draws: the random stream; its `index` identifies the samples of the batch.
        purpose: the stream's name.
    """

    def __init__(self, draws: KeyedRandom, purpose: str = "sample"):
        self.draws, self.purpose, self.calls = draws, purpose, 0

    def begin(self) -> WhiteNoise:
        """Return the same noise, from its first call on."""
        return WhiteNoise(self.draws, self.purpose)

    def __call__(self, x: Tensor, now: NoiseLevel, next: NoiseLevel) -> Tensor:
        self.calls += 1
        return self.draws.to(x.device).normal(self.purpose, x.shape[1:], self.calls).to(x)
