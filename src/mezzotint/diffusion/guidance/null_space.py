"""Linear inverse problems without gradients: the predicted x0 is projected onto the measurement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..levels import NoiseLevel
from ..operators import adjoint
from ..prediction import Prediction
from .measurement import MeasuredGuidance, conjugate_gradients


@dataclass(frozen=True, eq=False)
class DDNM(MeasuredGuidance):
    """x0 <- x0 + A^T (A A^T)^-1 (y - A x0): y decides what A sees, the network the null space of A.

    (A A^T)^-1 is applied by conjugate gradients, one system per example; their early end regularises operators such as
    blur, whose inverse would amplify errors. For a mask this is `InpaintGuidance`. Noise of y is not modelled.

    Source: Wang et al. 2022, algorithm 1, https://arxiv.org/abs/2212.00490

    Args:
        operator, y: as in `MeasuredGuidance`; the operator is linear.
        iterations: number of conjugate gradient iterations.
    """

    positive = ("iterations",)

    iterations: int = 5

    def __call__(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction:
        pred = self.inner(x, level, **cond)
        x0 = pred.x0
        push = adjoint(self.operator, x0)
        v = conjugate_gradients(lambda v: self.operator(push(v)), self.y - self.operator(x0), self.iterations)
        return pred.with_x0(torch.add(x0, push(v)))
