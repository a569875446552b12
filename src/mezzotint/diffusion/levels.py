"""The noise level (alpha, sigma), which every formula of diffusion needs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .scalar_ops import Number, equals, log, sigmoid


def broadcast_like(c: Number, x: Tensor) -> Number:
    """Return a coefficient broadcastable with x: (B,) becomes (B, 1, ..., 1); a float, or one for each value, stays.

    Tensors are cast to x's dtype and device.
    """
    if isinstance(c, Tensor):
        c = cast_like(c, x)
        return c.reshape(-1, *(1,) * (x.ndim - 1)) if c.ndim == 1 else c
    return c


def cast_like(c: Tensor, x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return c in x's dtype, or `dtype`, on x's device: cast before the copy (MPS has no float64), non-blocking."""
    return c.to(dtype or x.dtype).to(x.device, non_blocking=True)


@dataclass(frozen=True, slots=True)
class NoiseLevel:
    """q(x_t | x0) = N(alpha x0, sigma^2 I), that is x_t = alpha x0 + sigma eps.

    Args:
        alpha: factor on the data. A float (one level for the batch) or a float64 tensor (B,), one per example.
        sigma: standard deviation of the noise, of the same type.
    """

    alpha: Number
    sigma: Number

    @property
    def batched(self) -> bool:
        """True for a level of tensors, with one entry per example."""
        return isinstance(self.alpha, Tensor) or isinstance(self.sigma, Tensor)

    @property
    def ratio(self) -> Number:
        """sigma / alpha, the noise level in the variance-exploding frame; inf for pure noise."""
        return math.inf if equals(self.alpha, 0.0) else self.sigma / self.alpha

    @property
    def half_log_snr(self) -> Number:
        """lambda = log(alpha / sigma); inf for clean data, -inf for pure noise."""
        return log(self.alpha) - log(self.sigma)

    @property
    def log_snr(self) -> Number:
        """log(alpha^2 / sigma^2)."""
        return 2.0 * self.half_log_snr

    @property
    def norm(self) -> Number:
        """sqrt(alpha^2 + sigma^2): 1 in a variance-preserving frame."""
        return (self.alpha**2 + self.sigma**2) ** 0.5

    @property
    def clean(self) -> bool | Tensor:
        """True where sigma is 0, per example for a tensor level."""
        return self.sigma == 0

    def perturb(self, x0: Tensor, eps: Tensor) -> Tensor:
        """Return alpha x0 + sigma eps."""
        return broadcast_like(self.alpha, x0) * x0 + broadcast_like(self.sigma, x0) * eps

    @staticmethod
    def from_log_snr(value: Number) -> NoiseLevel:
        """Return the variance-preserving level (alpha^2 + sigma^2 = 1) with this log-SNR."""
        return NoiseLevel(sigmoid(value) ** 0.5, sigmoid(-value) ** 0.5)
