"""The output of a denoiser: one linear functional of (x0, eps), from which all other quantities follow."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .levels import NoiseLevel, broadcast_like
from .scalar_ops import Number


class Prediction:
    """A denoiser's prediction at x: the pair x = alpha x0 + sigma eps and value = a x0 + b eps.

    Args:
        x: the noisy input, (B, C, H, W), in the frame of `level`.
        level: its noise level.
        value: the predicted quantity, shaped like x.
        a, b: coefficients of `value` on x0 and on eps.
        fraction: for networks with a learned variance, shaped like x, in [0, 1]: 0 is the posterior variance, 1 the
            transition variance, interpolated in the logarithm.
    """

    __slots__ = ("a", "b", "det", "fraction", "level", "value", "x")

    def __init__(
        self,
        x: Tensor,
        level: NoiseLevel,
        value: Tensor,
        a: Number,
        b: Number,
        fraction: Tensor | None = None,
        det: Number | None = None,
    ):
        self.x, self.level, self.value, self.a, self.b, self.fraction = x, level, value, a, b, fraction
        self.det = det  # computed on first use; training does not need it

    def mix(self, x0: Number, eps: Number) -> Tensor:
        """Return x0 * E[x0 | x] + eps * E[eps | x] in two tensor operations: Cramer's rule in float64, cast last."""
        level, det = self.level, self.det
        if det is None:
            det = self.det = level.alpha * self.b - level.sigma * self.a
        try:
            on_x = (x0 * self.b - eps * self.a) / det
            on_value = (eps * level.alpha - x0 * level.sigma) / det
        except ZeroDivisionError:
            raise ValueError(
                f"The prediction at {level} is {self.a:g} x0 + {self.b:g} eps, which together with x does not "
                "determine x0 and eps. Use a noisier or cleaner level, or another target."
            ) from None
        x = self.x
        if isinstance(on_x, Tensor) or isinstance(on_value, Tensor):
            return broadcast_like(on_x, x) * x + broadcast_like(on_value, x) * self.value
        if torch.is_grad_enabled():
            return x * on_x + self.value * on_value
        return (x * on_x).add_(self.value, alpha=on_value)

    @property
    def unguided(self) -> Prediction:
        """The prediction that multistep samplers store: this one, except under CFG++ (`Renoised`)."""
        return self

    @property
    def restated(self) -> Prediction:
        """The prediction with the unguided x0, at x; under CFG++ x is a new state, as in RES."""
        return self

    @property
    def x0(self) -> Tensor:
        """E[x0 | x]."""
        if type(self.a) is type(self.b) is float and self.a == 1.0 and self.b == 0.0:
            return self.value
        return self.mix(1.0, 0.0)

    @property
    def eps(self) -> Tensor:
        """E[eps | x]."""
        if type(self.a) is type(self.b) is float and self.a == 0.0 and self.b == 1.0:
            return self.value
        return self.mix(0.0, 1.0)

    def with_x0(self, x0: Tensor) -> Prediction:
        """Return the prediction with the same x and this x0; eps follows."""
        return Prediction(self.x, self.level, x0, 1.0, 0.0, self.fraction)

    def with_eps(self, eps: Tensor) -> Prediction:
        """Return the prediction with the same x and this eps; x0 follows."""
        return Prediction(self.x, self.level, eps, 0.0, 1.0, self.fraction)

    def lerp(self, other: Prediction, w: float) -> Prediction:
        """Return self + w (other - self), with the other's fraction; w = 0 and w = 1 are exact.

        Interpolates x0 where the targets or frames differ.
        """
        if (self.level is other.level or self.level == other.level) and (self.a, self.b) == (other.a, other.b):
            value = torch.lerp(self.value, other.value, w)
            return Prediction(other.x, other.level, value, other.a, other.b, other.fraction, other.det)
        return other.with_x0(torch.lerp(self.x0, other.x0, w))

    def chunk(self, k: int) -> list[Prediction]:
        """Split the batch, at one float level, into k equal parts."""
        fractions = [None] * k if self.fraction is None else self.fraction.chunk(k)
        parts = zip(self.x.chunk(k), self.value.chunk(k), fractions, strict=True)
        return [Prediction(x, self.level, value, self.a, self.b, f, self.det) for x, value, f in parts]

    def detach(self) -> Prediction:
        """Detach the value; the fraction keeps its gradient, which the hybrid loss needs."""
        return Prediction(self.x, self.level, self.value.detach(), self.a, self.b, self.fraction, self.det)


class Renoised(Prediction):
    """A guided x0 with the eps of the unguided prediction, as in CFG++: x = alpha x0 + sigma eps is a new state.

    Source: Chung et al. 2024, algorithm 2, https://arxiv.org/abs/2406.08070

    Args:
        null: the unguided prediction, at the sampler's own x.
        x0: the guided x0, shaped like x.
        fraction: as in `Prediction`.
    """

    __slots__ = ("null",)

    def __init__(self, null: Prediction, x0: Tensor, fraction: Tensor | None = None):
        level = null.level
        x = broadcast_like(level.alpha, x0) * x0 + broadcast_like(level.sigma, x0) * null.eps
        super().__init__(x, level, x0, 1.0, 0.0, fraction)
        self.null = null

    @property
    def unguided(self) -> Prediction:
        return self.null

    @property
    def restated(self) -> Prediction:
        return Prediction(self.x, self.level, self.null.x0, 1.0, 0.0, self.fraction)

    def with_x0(self, x0: Tensor) -> Prediction:
        """Return the prediction with another guided x0 and the same eps."""
        return Renoised(self.null, x0, self.fraction)


def weighted_sum(parts: Sequence[Prediction], weights: Sequence[float]) -> Prediction:
    """Return the sum of predictions of one target at one x and level, with weights that sum to 1; the last's fraction.

    For two predictions this is `lerp`.
    """
    first, *others = parts
    if len(others) == 1:
        return first.lerp(others[0], weights[1])
    value, last = first.value * weights[0], parts[-1]
    for part, weight in zip(others, weights[1:], strict=True):
        value = value + weight * part.value
    return Prediction(last.x, last.level, value, last.a, last.b, last.fraction, last.det)
