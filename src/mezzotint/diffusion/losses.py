"""The training objective: a time distribution, a weight and a loss."""

import abc
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .denoiser import Denoiser
from .draws import Draws
from .elementary import Number
from .levels import expand
from .times import Drawn, Times, Uniform
from .weights import Plain, Weight


class Loss(abc.ABC):
    """loss(value, wanted): the error of each example, (B,)."""

    @abc.abstractmethod
    def __call__(self, value: Tensor, wanted: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class SquaredError(Loss):
    """Mean over the elements of (value - wanted)^2."""

    def __call__(self, value: Tensor, wanted: Tensor) -> Tensor:
        return (value - wanted).square().flatten(1).mean(1)


class Objective(nn.Module):
    """E over t, x0, eps of weight(t) loss(network's answer, a x0 + b eps), one number for each example.

    Every random number is drawn by name from `draws`: "time", "noise", "label_dropout".

    Args:
        times: where to train.
        weight: how much each level counts.
        loss: how an error is measured.
        label_dropout: share of examples whose label becomes -1, the null label (for classifier-free guidance).
    """

    def __init__(
        self,
        times: Times | None = None,
        weight: Weight | None = None,
        loss: Loss | None = None,
        label_dropout: float = 0.0,
    ):
        super().__init__()
        self.times = Uniform() if times is None else times
        self.weight = Plain() if weight is None else weight
        self.loss = SquaredError() if loss is None else loss
        if not 0.0 <= label_dropout <= 1.0:
            raise ValueError(f"label_dropout={label_dropout} is not a share. Give a number from 0 to 1.")
        self.label_dropout = label_dropout

    def forward(self, denoiser: Denoiser, x0: Tensor, draws: Draws, **cond: Any) -> Tensor:
        """(B,) losses of clean x0 (B, C, H, W); conditioning by name, label (B,) int64."""
        schedule, target = denoiser.schedule, denoiser.target
        drawn = Drawn(*self.times(self.times.uniforms(draws), schedule), schedule)
        t = drawn.t
        level = schedule.level(t)
        eps = draws.to(x0.device).normal("noise", x0.shape[1:]).to(x0)
        if self.label_dropout and cond.get("label") is not None:
            cond["label"] = self._drop(cond["label"], draws)
        prediction = denoiser.predict_at(level.perturb(x0, eps), t, level, **cond)
        error = self.loss(prediction.value, combine(*target.coefficients(level), x0, eps))
        self.times.observe(t, error, schedule)
        return self.weight.apply(error, level, target, drawn)

    def _drop(self, label: Tensor, draws: Draws) -> Tensor:
        keep = draws.uniform("label_dropout") >= self.label_dropout
        return torch.where(keep.to(label.device), label, -1)


def combine(a: Number, b: Number, x0: Tensor, eps: Tensor) -> Tensor:
    """a x0 + b eps, sparing the products with 0 and 1."""
    if isinstance(a, float) and isinstance(b, float) and (a, b) in ((1.0, 0.0), (0.0, 1.0)):
        return x0 if a else eps
    if isinstance(a, float) and a == 0.0:
        return expand(b, eps) * eps
    return expand(a, x0) * x0 + expand(b, eps) * eps
