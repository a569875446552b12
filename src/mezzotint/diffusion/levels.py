"""The noise level: the one thing that every formula of diffusion needs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .scalar_ops import Number, log, sigmoid


def broadcast_like(c: Number, x: Tensor) -> Number:
    """A coefficient beside x: (B,) float64 becomes (B, 1, ..., 1) of x's dtype and device, cast last; a float stays."""
    if isinstance(c, Tensor):
        c = cast_like(c, x)
        return c.reshape(-1, *(1,) * (x.ndim - 1)) if c.ndim else c
    return c


def cast_like(c: Tensor, x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """c in x's dtype, or another, on x's device: cast where it lies (MPS has no float64), copied without waiting."""
    return c.to(dtype or x.dtype).to(x.device, non_blocking=True)


@dataclass(frozen=True, slots=True)
class NoiseLevel:
    """q(x_t | x0) = N(alpha x0, sigma^2 I), that is x_t = alpha x0 + sigma eps.

    Args:
        alpha: factor on the data. A float (one level for a whole batch) or a float64 tensor (B,), one for each example.
        sigma: standard deviation of the noise, of the same kind.
    """

    alpha: Number
    sigma: Number

    @property
    def ratio(self) -> Number:
        """sigma / alpha, the noise level of the variance-exploding frame; inf for pure noise."""
        if isinstance(self.alpha, Tensor) or self.alpha:
            return self.sigma / self.alpha
        return math.inf

    @property
    def half_log_snr(self) -> Number:
        """lambda = log(alpha / sigma); inf where clean, -inf where pure noise."""
        return log(self.alpha) - log(self.sigma)

    @property
    def log_snr(self) -> Number:
        """log(alpha^2 / sigma^2)."""
        return 2.0 * self.half_log_snr

    @property
    def norm(self) -> Number:
        """sqrt(alpha^2 + sigma^2): 1 where the frame preserves the variance of unit data."""
        return (self.alpha**2 + self.sigma**2) ** 0.5

    @property
    def clean(self) -> bool | Tensor:
        """Whether there is no noise at all, for each example where there are several."""
        return self.sigma == 0

    def perturb(self, x0: Tensor, eps: Tensor) -> Tensor:
        """alpha x0 + sigma eps."""
        return broadcast_like(self.alpha, x0) * x0 + broadcast_like(self.sigma, x0) * eps

    @staticmethod
    def from_log_snr(value: Number) -> NoiseLevel:
        """The variance-preserving level (alpha^2 + sigma^2 = 1) of this log-SNR."""
        return NoiseLevel(sigmoid(value) ** 0.5, sigmoid(-value) ** 0.5)
