"""Self-conditioning on the previous estimate of x0."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ..denoiser import Denoise
from ..levels import NoiseLevel
from ..prediction import Prediction
from .base import Guidance


@dataclass(frozen=True)
class SelfConditioned(Guidance):
    """Self-conditioning: the network receives its previous x0 as `estimate`, zeros at first. Must be outermost.

    Source: Chen et al. 2022, algorithm 2, https://arxiv.org/abs/2208.04202
    """

    past: list[Tensor] | None = field(
        default=None, kw_only=True, repr=False, compare=False
    )  # a list during a trajectory

    def begin(self) -> Denoise:
        return replace(self, inner=self._wrapped().begin(), past=[])

    def __call__(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction:
        pred = self.inner(x, level, estimate=self.past[0] if self.past else torch.zeros_like(x), **cond)
        if self.past is not None:
            self.past[:] = [pred.x0]
        return pred
