"""Linear inverse problems: samples of x0 given y = A x0 + std z, by guidance with the measurement.

The score gains grad_x log p(y | x_t). All members take p(y | x_t) = N(A E[x0 | x], std^2 + A V A^T) with V their guess
of the covariance of x0 given x; the gradient is J^T A^T v with J = d E[x0 | x] / d x and
(std^2 + A V A^T) v = y - A E[x0 | x].
"""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..levels import NoiseLevel
from ..prediction import Prediction
from . import Guidance

Operator = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class MeasurementGuidance(Guidance):
    """x0 <- x0 + sigma^2 / alpha J^T A^T v. Gradients pass through the network: each call has a backward pass.

    At alpha = 0, where x says nothing yet, the prediction is left as it is.

    Args:
        operator: A, linear and differentiable, from (B, C, H, W) to anything with a batch.
        y: the measurement.
        std: of its noise.
    """

    operator: Operator
    y: Tensor
    std: float = 0.01

    @abc.abstractmethod
    def covariance(self, level: NoiseLevel, pull: Operator, push: Operator) -> Operator:
        """v -> A V A^T v, from pull(v) = J^T A^T v and push(v) = A^T v."""

    def solve(self, apply: Operator, residual: Tensor) -> Tensor:
        """v with std^2 v + apply(v) = residual."""
        raise NotImplementedError

    def __call__(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction:
        if level.alpha == 0:
            return self.inner(x, level, **cond)
        with torch.inference_mode(False), torch.enable_grad():
            point = x.detach().clone().requires_grad_()
            pred = self.inner(point, level, **cond)
            x0 = pred.x0
            seen = self.operator(x0)

            def pull(v: Tensor) -> Tensor:
                return torch.autograd.grad(seen, point, v, retain_graph=True)[0]

            def push(v: Tensor) -> Tensor:
                zero = torch.zeros_like(x0, requires_grad=True)
                return torch.autograd.grad(self.operator(zero), zero, v)[0]

            v = self.solve(self.covariance(level, pull, push), (self.y - seen).detach())
            gain = float(level.sigma**2 / level.alpha)
            shifted = torch.add(x0.detach(), pull(v), alpha=gain)
        fraction = None if pred.fraction is None else pred.fraction.detach()
        return Prediction(x, level, shifted, 1.0, 0.0, fraction)


@dataclass(frozen=True, eq=False)
class DPS(MeasurementGuidance):
    """V = gamma (sigma / alpha)^2, apart from A: one division. gamma = 0 is diffusion posterior sampling.

    Source: Chung et al. 2022, eq. 11, https://arxiv.org/abs/2209.14687, without its rule for the step; with gamma Rozet
    and Louppe 2023, eq. 15, https://arxiv.org/abs/2306.10574

    Args:
        gamma: how unsure x0 is taken to be, in units of the noise.
    """

    gamma: float = 0.1

    def covariance(self, level: NoiseLevel, pull: Operator, push: Operator) -> Operator:
        return lambda v: self.gamma * float(level.ratio) ** 2 * v

    def solve(self, apply: Operator, residual: Tensor) -> Tensor:
        return residual / (self.std**2 + apply(torch.ones_like(residual)))


@dataclass(frozen=True, eq=False)
class _Solved(MeasurementGuidance):
    """Members whose v comes from conjugate gradients, one system an example.

    Args:
        iterations: of conjugate gradients.
    """

    iterations: int = 5

    def solve(self, apply: Operator, residual: Tensor) -> Tensor:
        return conjugate_gradients(lambda v: self.std**2 * v + apply(v), residual, self.iterations)


@dataclass(frozen=True, eq=False)
class PiGDM(_Solved):
    """V = r^2 I with r^2 = sigma^2 / (s_d^2 alpha^2 + sigma^2) s_d^2: exact for data N(m, s_d^2).

    Source: Song et al. 2023, eqs. 5 to 7, https://openreview.net/forum?id=9_gsMA8MRKQ

    Args:
        sigma_data: s_d.
    """

    sigma_data: float = 1.0

    def covariance(self, level: NoiseLevel, pull: Operator, push: Operator) -> Operator:
        prior = self.sigma_data**2
        r2 = float(level.sigma**2 * prior / (prior * level.alpha**2 + level.sigma**2))
        return lambda v: r2 * self.operator(push(v))


@dataclass(frozen=True, eq=False)
class MomentMatching(_Solved):
    """V = sigma^2 / alpha J, Tweedie's covariance: exact for Gaussian data of any covariance.

    Source: Rozet et al. 2024, algorithm 3, https://arxiv.org/abs/2405.13712; Boys et al. 2023,
    https://arxiv.org/abs/2310.06721
    """

    def covariance(self, level: NoiseLevel, pull: Operator, push: Operator) -> Operator:
        gain = float(level.sigma**2 / level.alpha)
        return lambda v: gain * self.operator(pull(v)).detach()


def conjugate_gradients(apply: Operator, b: Tensor, iterations: int) -> Tensor:
    """x with apply(x) = b for a symmetric positive apply, each example for itself; stops moving once solved.

    Source: Hestenes and Stiefel 1952, https://doi.org/10.6028/jres.049.044
    """

    def dot(u: Tensor, v: Tensor) -> Tensor:
        return (u * v).flatten(1).sum(1).reshape(-1, *(1,) * (u.ndim - 1))

    x, r = torch.zeros_like(b), b
    p, rr = r, dot(r, r)
    tiny = 1e-24 * rr
    for _ in range(iterations):
        q = apply(p)
        step = torch.where(rr > tiny, rr / dot(p, q).clamp(min=1e-300 if b.dtype == torch.float64 else 1e-38), 0.0)
        x, r = x + step * p, r - step * q
        after = dot(r, r)
        p = r + torch.where(rr > tiny, after / rr.clamp(min=1e-38), 0.0) * p
        rr = after
    return x
