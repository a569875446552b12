"""Bounds on x0: clips and thresholds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..levels import NoiseLevel
from ..prediction import Prediction
from .base import Guidance


@dataclass(frozen=True)
class Clip(Guidance):
    """x0 clipped to the range of the data; eps is rebuilt from it, so that x = alpha x0 + sigma eps still holds.

    Source: Ho et al. 2020 (code), https://arxiv.org/abs/2006.11239; eps rebuilt as by Nichol and Dhariwal 2021
    """

    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"low={self.low:g}, high={self.high:g}: x0 is clipped between them; give low < high.")

    def __call__(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction:
        pred = self.inner(x, level, **cond)
        return pred.with_x0(pred.x0.clamp(self.low, self.high))


@dataclass(frozen=True)
class ClipIfEpsilon(Clip):
    """Clip where the network tells of the noise alone (epsilon, score), as the code of Ho et al. 2020 does.

    x0 is (x - sigma eps) / alpha there, and where a schedule ends near pure noise the first steps divide the network's
    error by an alpha near 0: uncorrected, it saturates the images. Other targets are left as they are.
    """

    def __call__(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction:
        pred = self.inner(x, level, **cond)
        told_of_x0 = isinstance(pred.a, Tensor) or pred.a != 0.0
        return pred if told_of_x0 else pred.with_x0(pred.x0.clamp(self.low, self.high))


@dataclass(frozen=True)
class DynamicThreshold(Guidance):
    """x0 clipped to [-s, s] and divided by s, s the percentile of |x0| in each example, at least `bound`; times bound.

    Source: Saharia et al. 2022, sec. 2.3, https://arxiv.org/abs/2205.11487

    Args:
        percentile: as a share.
        bound: half the range of the data.
    """

    percentile: float = 0.995
    bound: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.percentile <= 1.0 or not 0.0 < self.bound < math.inf:
            raise ValueError(
                f"percentile={self.percentile:g} must be a share, 0 to 1, and bound={self.bound:g} above 0."
            )

    def __call__(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction:
        pred = self.inner(x, level, **cond)
        x0 = pred.x0
        flat = x0.flatten(1).abs()
        exact = flat if flat.dtype == torch.float64 else flat.float()
        s = exact.quantile(self.percentile, dim=1).to(x0).clamp(min=self.bound).unsqueeze(1)
        return pred.with_x0((x0.flatten(1).clamp(-s, s) * (self.bound / s)).reshape_as(x0))
