"""Compositional guidance: one scale for each condition."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ..conditions import concatenated, without
from ..levels import NoiseLevel
from ..prediction import Prediction, weighted_sum
from .base import Guidance


@dataclass(frozen=True)
class CompositionalCFG(Guidance):
    """D = D_0 + w_1 (D_1 - D_0) + ... + w_n (D_n - D_(n-1)), where D_i is given the first i conditions of `scales`.

    Conditions that `scales` does not name are given to all. Equal scales are `CFG` of these conditions: all 0 is
    exactly the prediction without them and all 1 exactly the conditional one. Predictions of weight 0 are not computed;
    the others take one call of n + 1 times the batch, at most.

    Source: Brooks, Holynski and Efros 2023, eq. 3, https://arxiv.org/abs/2211.09800, with an image as the first
    condition and a text as the second.

    Args:
        scales: w_i by the name of the condition, in this order; none is no guidance.
    """

    scales: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        wrong = {name: scale for name, scale in self.scales.items() if not math.isfinite(scale)}
        if wrong:
            raise ValueError(f"scales={wrong}: give finite numbers.")

    def __call__(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction:
        weights = [above - below for above, below in pairwise([1.0, *self.scales.values(), 0.0])]
        names = list(self.scales)
        used = [i for i, weight in enumerate(weights) if weight != 0.0]
        parts = [without(cond, names[i:]) if names[i:] else cond for i in used]
        if len(parts) == 1:
            return self.inner(x, level, **parts[0])
        stacked = self.inner(torch.cat([x] * len(parts)), level, **concatenated(parts, len(x)))
        return weighted_sum(stacked.chunk(len(parts)), [weights[i] for i in used])
