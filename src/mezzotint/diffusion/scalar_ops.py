"""Elementary functions of a Python float or a tensor, with the same limits at the edges of their domain."""

import math
from typing import Any, TypeGuard

import torch
from torch import Tensor

from mezzotint.devices import finest

Number = float | Tensor


class _FloatOps:
    """The functions of `torch` that formulas need, for Python floats."""

    log1p, expm1 = staticmethod(math.log1p), staticmethod(math.expm1)
    sin, asinh, atan2 = staticmethod(math.sin), staticmethod(math.asinh), staticmethod(math.atan2)

    @staticmethod
    def ones_like(v: float) -> float:
        return 1.0

    @staticmethod
    def log(v: float) -> float:
        return math.log(v) if v > 0 else -math.inf

    @staticmethod
    def exp(v: float) -> float:
        return math.exp(v) if v < 709.0 else math.inf

    @staticmethod
    def sigmoid(v: float) -> float:
        return 1.0 / (1.0 + _FloatOps.exp(-v))

    @staticmethod
    def clamp(v: float, min: float = -math.inf, max: float = math.inf) -> float:
        return min if v < min else max if v > max else v

    @staticmethod
    def where(condition: bool, a: float, b: float) -> float:
        return a if condition else b


def _is_tensor(v: Number | bool) -> TypeGuard[Tensor]:
    return isinstance(v, Tensor)


def _ops(v: Number | bool) -> Any:
    """Return the functions for this number: those of `torch` for a tensor."""
    return torch if _is_tensor(v) else _FloatOps


def precise(t: Number) -> Number:
    """Return a tensor in float64, or the finest type that its device has; a float is returned unchanged."""
    return finest(t) if _is_tensor(t) else t


def equals(v: Number, value: float) -> bool:
    """Return whether v is this float; False for a tensor, whose entries may differ."""
    return not _is_tensor(v) and bool(v == value)


def exceeds(v: Number, bound: float) -> bool:
    """Return whether v is a float above the bound; False for a tensor, as in `equals`."""
    return not _is_tensor(v) and bool(v > bound)


def ones_like(v: Number) -> Number:
    return _ops(v).ones_like(v)


def log(v: Number) -> Number:
    """Natural logarithm; log 0 = -inf, for floats too."""
    return _ops(v).log(v)


def exp(v: Number) -> Number:
    """Exponential; overflow gives inf, for floats too."""
    return _ops(v).exp(v)


def log1p(v: Number) -> Number:
    return _ops(v).log1p(v)


def expm1(v: Number) -> Number:
    return _ops(v).expm1(v)


def sin(v: Number) -> Number:
    return _ops(v).sin(v)


def asinh(v: Number) -> Number:
    return _ops(v).asinh(v)


def atan2(y: Number, x: Number) -> Number:
    """The angle of (x, y); x may be a float where y is a tensor."""
    return _ops(y).atan2(y, torch.as_tensor(x, dtype=y.dtype, device=y.device) if _is_tensor(y) else x)


def sigmoid(v: Number) -> Number:
    """1 / (1 + exp(-v))."""
    return _ops(v).sigmoid(v)


def minimum(v: Number, bound: float) -> Number:
    return _ops(v).clamp(v, max=bound)


def maximum(v: Number, bound: float) -> Number:
    return _ops(v).clamp(v, min=bound)


def where(condition: bool | Tensor, a: Number, b: Number) -> Number:
    """Return a where the condition holds and b elsewhere; both are evaluated."""
    return _ops(condition).where(condition, a, b)
