"""Noise for stochastic samplers, drawn by name: white noise for each call, or increments of a Brownian path."""

from __future__ import annotations

import math
from bisect import bisect_left

import torch
from torch import Tensor

from mezzotint.randomness import KeyedRandom

from .levels import NoiseLevel


class BrownianNoise:
    """One Brownian path for each sample, whatever steps are taken along it: fewer steps follow the same path.

    The path runs in SNR = alpha^2 / sigma^2, in which the noise of an ancestral step is an increment. Between the
    levels of `reference` the increments are named draws, so a step may lead from any of them to any cleaner one.

    Source: Kidger et al. 2021, sec. 3.3, for Brownian paths from named seeds, https://arxiv.org/abs/2105.13493

    Args:
        draws: whose numbers; `index` names the samples of the batch.
        reference: the finest grid, from noise to clean; every level that is visited must be in it, in any frame.
        purpose: the stream's name.
    """

    def __init__(self, draws: KeyedRandom, reference: tuple[NoiseLevel, ...], purpose: str = "sample"):
        self.draws, self.purpose = draws, purpose
        self.snr = [0.0 if level.ratio == math.inf else float(level.ratio) ** -2 for level in reference if level.sigma]

    def __call__(self, x: Tensor, now: NoiseLevel, next: NoiseLevel) -> Tensor:
        first, last = self._find(now), self._find(next)
        if first >= last:
            raise ValueError(f"Brownian noise leads to cleaner levels, and {next} is not cleaner than {now}.")
        draws, whole = self.draws.to(x.device), self.snr[last] - self.snr[first]
        total = torch.zeros_like(x)
        for k in range(first, last):
            share = ((self.snr[k + 1] - self.snr[k]) / whole) ** 0.5
            total += share * draws.normal(self.purpose, x.shape[1:], k).to(x)
        return total

    def _find(self, level: NoiseLevel) -> int:
        wanted = 0.0 if level.ratio == math.inf else float(level.ratio) ** -2
        k = bisect_left(self.snr, wanted * (1.0 - 1e-9))
        if k == len(self.snr) or abs(self.snr[k] - wanted) > 1e-9 * wanted:
            raise ValueError(f"{level} is not a level of the reference grid. Make the reference of all levels visited.")
        return k


class WhiteNoise:
    """Independent noise for each call of a trajectory, by name: call k of sample i is f(seed, purpose, i, k).

    Args:
        draws: whose numbers; `index` names the samples of the batch.
        purpose: the stream's name.
    """

    def __init__(self, draws: KeyedRandom, purpose: str = "sample"):
        self.draws, self.purpose, self.calls = draws, purpose, 0

    def begin(self) -> WhiteNoise:
        """The same noise from its first call on."""
        return WhiteNoise(self.draws, self.purpose)

    def __call__(self, x: Tensor, now: object, next: object) -> Tensor:
        self.calls += 1
        return self.draws.to(x.device).normal(self.purpose, x.shape[1:], self.calls).to(x)
