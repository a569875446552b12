"""Measurement operators A of inverse problems: masks, average pooling, blur, grey values."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from mezzotint.finite import Finite

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601


class Operator(metaclass=Finite):
    """A differentiable map from examples (B, C, *size) to measurements (B, ...).

    Attributes:
        linear: whether A(x + y) = A(x) + A(y) and A(0) = 0; some methods need it.
    """

    linear: ClassVar[bool] = True

    @abc.abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """Return A x."""

    def picture(self, y: Tensor, x: Tensor) -> Tensor | None:
        """Return a measurement in the shape of the examples x, to be looked at; None if it has no such form."""
        return y if y.shape == x.shape else None

    def revealed(self) -> Tensor | None:
        """Return where A x is x itself, a boolean tensor that broadcasts with x; None if A is not a mask."""
        return None


Apply = Callable[[Tensor], Tensor]


def adjoint(operator: Apply, like: Tensor) -> Apply:
    """Return v -> A^T v of a linear operator on tensors shaped like `like`, by automatic differentiation."""

    def apply(v: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            zero = torch.zeros_like(like, requires_grad=True)
            return torch.autograd.grad(operator(zero), zero, v)[0]

    return apply


@dataclass(frozen=True, eq=False)
class Mask(Operator):
    """A x = x where the mask is true, and 0 elsewhere.

    Args:
        known: true where x is known; boolean, broadcastable with x.
    """

    known: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return x * self.known.to(x)

    def revealed(self) -> Tensor:
        return self.known


@dataclass(frozen=True)
class AveragePooling(Operator):
    """Means of blocks of `factor` numbers along each axis of size: factor 2 halves height and width."""

    positive = ("factor",)

    factor: int = 2

    def __call__(self, x: Tensor) -> Tensor:
        if bad := [side for side in x.shape[2:] if side % self.factor]:
            raise ValueError(f"factor={self.factor} does not divide {bad[0]}, a side of {list(x.shape[2:])}.")
        for axis in range(2, x.ndim):
            x = x.unflatten(axis, (-1, self.factor)).mean(axis + 1)
        return x

    def picture(self, y: Tensor, x: Tensor) -> Tensor:
        for axis in range(2, y.ndim):
            y = y.repeat_interleave(self.factor, axis)
        return y


@dataclass(frozen=True)
class GaussianBlur(Operator):
    """Convolution along each axis of size with a Gaussian of deviation `width` pixels, cut off at three of them.

    Beyond the edge the outermost numbers are repeated; the weights sum to 1.
    """

    positive = ("width",)

    width: float = 1.0

    def __call__(self, x: Tensor) -> Tensor:
        radius = max(1, math.ceil(3.0 * self.width))
        offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
        weights = torch.exp(-0.5 * (offsets / self.width) ** 2)
        weights = (weights / weights.sum()).to(x)
        for axis in range(2, x.ndim):
            x = self._along(x.movedim(axis, -1), weights, radius).movedim(-1, axis)
        return x

    @staticmethod
    def _along(x: Tensor, weights: Tensor, radius: int) -> Tensor:
        """Return the convolution of the last axis."""
        rows = functional.pad(x.reshape(-1, 1, x.shape[-1]), (radius, radius), mode="replicate")
        return functional.conv1d(rows, weights[None, None]).reshape(x.shape)


@dataclass(frozen=True)
class Grayscale(Operator):
    """The luma of red, green and blue: (B, 3, H, W) to (B, 1, H, W). Source: ITU-R BT.601."""

    def __call__(self, x: Tensor) -> Tensor:
        if x.shape[1] != 3:
            raise ValueError(f"Grayscale takes 3 channels, and the examples have {x.shape[1]}.")
        weights = torch.tensor(LUMA, dtype=torch.float64).to(x).reshape(-1, *(1,) * (x.ndim - 2))
        return (x * weights).sum(1, keepdim=True)

    def picture(self, y: Tensor, x: Tensor) -> Tensor:
        return y.expand_as(x)
