"""Elementary functions of a Python float or a tensor, with the same limits at the edges of their domain."""

import math

import torch
from torch import Tensor

Number = float | Tensor


def precise(t: Number) -> Number:
    """Return a tensor in float64, except on devices without it (MPS); a float is returned unchanged."""
    return t.double() if isinstance(t, Tensor) and t.device.type != "mps" else t


def log(v: Number) -> Number:
    """Natural logarithm; log 0 = -inf, for floats too."""
    if isinstance(v, Tensor):
        return v.log()
    return math.log(v) if v > 0 else -math.inf


def exp(v: Number) -> Number:
    """Exponential; overflow gives inf, for floats too."""
    if isinstance(v, Tensor):
        return v.exp()
    return math.exp(v) if v < 709.0 else math.inf


def log1p(v: Number) -> Number:
    return v.log1p() if isinstance(v, Tensor) else math.log1p(v)


def expm1(v: Number) -> Number:
    return v.expm1() if isinstance(v, Tensor) else math.expm1(v)


def sin(v: Number) -> Number:
    return v.sin() if isinstance(v, Tensor) else math.sin(v)


def asinh(v: Number) -> Number:
    return v.asinh() if isinstance(v, Tensor) else math.asinh(v)


def atan2(y: Number, x: Number) -> Number:
    """The angle of (x, y); x may be a float where y is a tensor."""
    if isinstance(y, Tensor):
        return torch.atan2(y, torch.as_tensor(x, dtype=y.dtype, device=y.device))
    return math.atan2(y, x)


def sigmoid(v: Number) -> Number:
    """1 / (1 + exp(-v))."""
    if isinstance(v, Tensor):
        return v.sigmoid()
    return 1.0 / (1.0 + exp(-v))


def minimum(v: Number, bound: float) -> Number:
    return v.clamp(max=bound) if isinstance(v, Tensor) else min(v, bound)


def maximum(v: Number, bound: float) -> Number:
    return v.clamp(min=bound) if isinstance(v, Tensor) else max(v, bound)
