"""Bounds on x0: clipping and dynamic thresholding."""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mezzotint.devices import has_float64

from ..levels import NoiseLevel
from ..prediction import Prediction
from ..scalar_ops import equals
from .base import Guidance


@dataclass(frozen=True)
class Clipping(Guidance):
    """Base of clipping to a range; eps is recomputed, so that x = alpha x0 + sigma eps still holds."""

    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"low={self.low:g}, high={self.high:g}: x0 is clipped between them; give low < high.")

    @abc.abstractmethod
    def applies(self, pred: Prediction) -> bool:
        """Return whether this prediction is clipped."""

    def __call__(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction:
        pred = self.inner(x, level, **cond)
        return pred.with_x0(pred.x0.clamp(self.low, self.high)) if self.applies(pred) else pred


@dataclass(frozen=True)
class Clip(Clipping):
    """x0 clipped to the data range.

    Source: Ho et al. 2020 (code), https://arxiv.org/abs/2006.11239; eps recomputed as by Nichol and Dhariwal 2021

    Args:
        low, high: the data range.
    """

    def applies(self, pred: Prediction) -> bool:
        return True


@dataclass(frozen=True)
class ClipIfEpsilon(Clipping):
    """`Clip` for targets that predict the noise alone (epsilon, score), as in the code of Ho et al. 2020.

    For these x0 = (x - sigma eps) / alpha, and where a schedule ends near pure noise the first steps divide the
    network's error by an alpha near 0, which saturates the images. Other targets are not clipped.

    Args:
        low, high: the data range.
    """

    def applies(self, pred: Prediction) -> bool:
        return equals(pred.a, 0.0)


@dataclass(frozen=True)
class DynamicThreshold(Guidance):
    """x0 clipped to [-s, s] and scaled by bound / s, with s a percentile of |x0| per example, at least `bound`.

    Source: Saharia et al. 2022, sec. 2.3, https://arxiv.org/abs/2205.11487

    Args:
        percentile: as a fraction.
        bound: half the data range.
    """

    percentile: float = 0.995
    bound: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.percentile <= 1.0 or not 0.0 < self.bound < math.inf:
            raise ValueError(f"percentile={self.percentile:g} must be in (0, 1], and bound={self.bound:g} above 0.")

    def __call__(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction:
        pred = self.inner(x, level, **cond)
        x0 = pred.x0
        flat = x0.flatten(1).abs()
        exact = flat if flat.dtype == torch.float64 else flat.float()
        exact = exact if has_float64(exact.device) else exact.cpu()  # quantile computes in it
        s = exact.quantile(self.percentile, dim=1).to(x0).clamp(min=self.bound).unsqueeze(1)
        return pred.with_x0((x0.flatten(1).clamp(-s, s) * (self.bound / s)).reshape_as(x0))
