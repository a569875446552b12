"""Self-conditioning: the network is shown its last estimate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..denoiser import Denoise
from ..levels import NoiseLevel
from ..prediction import Prediction
from .base import Guidance


@dataclass(frozen=True)
class SelfConditioned(Guidance):
    """The network is shown its last x0 as `estimate`, zeros at first. To be the outermost wrapper.

    Source: Chen et al. 2022, algorithm 2, https://arxiv.org/abs/2208.04202
    """

    def begin(self) -> Denoise:
        return _SelfConditioning(inner=self._inside().begin())

    def __call__(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction:
        return self.inner(x, level, estimate=torch.zeros_like(x), **cond)


@dataclass(frozen=True, eq=False)
class _SelfConditioning(SelfConditioned):
    """Self-conditioning during one trajectory: the one that remembers x0."""

    past: list[Tensor] = field(default_factory=list)

    def __call__(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction:
        pred = self.inner(x, level, estimate=self.past[0] if self.past else torch.zeros_like(x), **cond)
        self.past[:] = [pred.x0]
        return pred
