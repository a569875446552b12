"""Linear inverse problems: samples of x0 given y = A x0 + std z, by guidance with the measurement y.

grad_x log p(y | x_t) is added to the score. All methods assume p(y | x_t) = N(A E[x0 | x], std^2 + A V A^T) with V
their model of the covariance of x0 given x; the gradient is J^T A^T v with J = d E[x0 | x] / d x and
(std^2 + A V A^T) v = y - A E[x0 | x].
"""

import abc
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..denoiser import Denoise
from ..grids.spacings import Spacing
from ..levels import NoiseLevel
from ..measurement import Conditioned, Measurement
from ..operators import Apply, adjoint
from ..prediction import Prediction
from ..samplers.base import Sampler
from .base import Guidance


@dataclass(frozen=True, eq=False)
class MeasuredGuidance(Guidance):
    """Guidance with a measurement; without one it is a method of `restore`, which gives it.

    Args:
        operator: A, differentiable, from (B, C, *size) to any shape (B, ...).
        y: the measurement, (B, ...).
    """

    replaces: ClassVar[bool] = False
    needs_linear: ClassVar[bool] = True

    operator: Apply = None  # type: ignore[assignment]
    y: Tensor = None  # type: ignore[assignment]

    def condition(self, measurement: Measurement, denoise: Denoise, sampler: Sampler, spacing: Spacing) -> Conditioned:
        """Return the denoiser under this guidance, with the same sampler and grid.

        Raises:
            ValueError: the operator is not linear, and the method needs that.
        """
        operator = measurement.operator
        if self.needs_linear and not operator.linear:
            raise ValueError(f"{type(self).__name__} takes linear measurements, and {operator} is not. Use DPS.")
        return Conditioned(self.measured(measurement, denoise), sampler, spacing)

    def measured(self, measurement: Measurement, denoise: Denoise) -> Guidance:
        """Return this guidance around a denoiser, with the measurement."""
        return replace(self, operator=measurement.operator, y=measurement.y, inner=denoise)

    def _wrapped(self) -> Denoise:
        if self.operator is None:
            name = type(self).__name__
            raise ValueError(f"{name} has no measurement. Give {name}(operator, y), or use it as a method of restore.")
        return super()._wrapped()


@dataclass(frozen=True, eq=False)
class MeasurementGuidance(MeasuredGuidance):
    """x0 <- x0 + sigma^2 / alpha J^T A^T v. Each call differentiates through the network.

    At alpha = 0, where x carries no information about x0, the prediction is unchanged.

    Args:
        operator, y: as in `MeasuredGuidance`; the operator is linear, except for `DPS`.
        std: standard deviation of the noise of y; the least one that `restore` assumes.
    """

    natural = ("std",)

    std: float = 0.01

    def measured(self, measurement: Measurement, denoise: Denoise) -> Guidance:
        std = max(measurement.std, self.std)
        return replace(self, operator=measurement.operator, y=measurement.y, std=std, inner=denoise)

    @abc.abstractmethod
    def covariance(self, level: NoiseLevel, pull: Apply, push: Apply) -> Apply:
        """Return v -> A V A^T v, given pull(v) = J^T A^T v and push(v) = A^T v."""

    @abc.abstractmethod
    def solve(self, apply: Apply, residual: Tensor) -> Tensor:
        """Return v with std^2 v + apply(v) = residual."""

    def __call__(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction:
        if self.operator is None:
            name = type(self).__name__
            raise ValueError(
                f"{name} has no measurement. Give {name}(operator, y), or use it as a method of `restore`."
            )
        if level.alpha == 0:
            return self.inner(x, level, **cond)
        with torch.inference_mode(False), torch.enable_grad():
            point = x.detach().clone().requires_grad_()
            pred = self.inner(point, level, **cond)
            x0 = pred.x0
            measured = self.operator(x0)

            def pull(v: Tensor) -> Tensor:
                return torch.autograd.grad(measured, point, v, retain_graph=True)[0]

            v = self.solve(self.covariance(level, pull, adjoint(self.operator, x0)), (self.y - measured).detach())
            gain = float(level.sigma**2 / level.alpha)
            shifted = torch.add(x0.detach(), pull(v), alpha=gain)
        fraction = None if pred.fraction is None else pred.fraction.detach()
        return Prediction(x, level, shifted, 1.0, 0.0, fraction)


@dataclass(frozen=True, eq=False)
class DPS(MeasurementGuidance):
    """A V A^T = gamma (sigma / alpha)^2 I, solved by division. gamma = 0 is diffusion posterior sampling.

    Source: Chung et al. 2022, eq. 11, https://arxiv.org/abs/2209.14687, without its step size rule; with gamma Rozet
    and Louppe 2023, eq. 15, https://arxiv.org/abs/2306.10574

    Args:
        gamma: variance of x0 given x, in units of (sigma / alpha)^2.
    """

    natural = ("gamma",)
    needs_linear: ClassVar[bool] = False

    gamma: float = 0.1

    def covariance(self, level: NoiseLevel, pull: Apply, push: Apply) -> Apply:
        return lambda v: self.gamma * float(level.ratio) ** 2 * v

    def solve(self, apply: Apply, residual: Tensor) -> Tensor:
        return residual / (self.std**2 + apply(torch.ones_like(residual)))


@dataclass(frozen=True, eq=False)
class CovarianceGuidance(MeasurementGuidance):
    """Methods that solve for v by conjugate gradients, one system per example.

    Args:
        iterations: number of conjugate gradient iterations.
    """

    positive = ("iterations",)

    iterations: int = 5

    def solve(self, apply: Apply, residual: Tensor) -> Tensor:
        least = 0.5 * self.std**2  # curvature is std^2 at least, unless V is not a covariance
        return conjugate_gradients(lambda v: self.std**2 * v + apply(v), residual, self.iterations, least)


@dataclass(frozen=True, eq=False)
class PiGDM(CovarianceGuidance):
    """V = r^2 I with r^2 = sigma^2 / (s_d^2 alpha^2 + sigma^2) s_d^2: exact for data N(m, s_d^2).

    Source: Song et al. 2023, eqs. 5 to 7, https://openreview.net/forum?id=9_gsMA8MRKQ

    Args:
        sigma_data: s_d, standard deviation of the data.
    """

    positive = ("sigma_data",)

    sigma_data: float = 1.0

    def covariance(self, level: NoiseLevel, pull: Apply, push: Apply) -> Apply:
        prior = self.sigma_data**2
        r2 = float(level.sigma**2 * prior / (prior * level.alpha**2 + level.sigma**2))
        return lambda v: r2 * self.operator(push(v))


@dataclass(frozen=True, eq=False)
class MomentMatching(CovarianceGuidance):
    """V = sigma^2 / alpha J, Tweedie's covariance: exact for Gaussian data of any covariance.

    Source: Rozet et al. 2024, algorithm 3, https://arxiv.org/abs/2405.13712; Boys et al. 2023,
    https://arxiv.org/abs/2310.06721
    """

    def covariance(self, level: NoiseLevel, pull: Apply, push: Apply) -> Apply:
        gain = float(level.sigma**2 / level.alpha)
        return lambda v: gain * self.operator(pull(v)).detach()


@dataclass(frozen=True, eq=False)
class InpaintGuidance(Guidance):
    """Inpainting: the predicted x0 is replaced by the image where it is known; eps follows, so steps stay consistent.

    Source: Lugmayr et al. 2022, sec. 4.1, https://arxiv.org/abs/2201.09865, on x0 instead of x_t

    Args:
        known: clean image (B, C, H, W).
        mask: true where the image is known, broadcastable with it.
    """

    known: Tensor
    mask: Tensor

    def __call__(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction:
        pred = self.inner(x, level, **cond)
        return pred.with_x0(torch.where(self.mask, self.known, pred.x0))


def conjugate_gradients(apply: Apply, b: Tensor, iterations: int, least: float = 0.0) -> Tensor:
    """Solve apply(x) = b per example for a symmetric positive definite `apply`; x is constant once converged.

    It ends early where the curvature of a direction p, p^T apply(p) / p^T p, is `least` or below: `apply`, such as the
    Jacobian of a network, is not positive definite there, and a step could have any length.

    Sources: Hestenes and Stiefel 1952, https://doi.org/10.6028/jres.049.044; Steihaug 1983 for the early end,
    https://doi.org/10.1137/0720042
    """

    def dot(u: Tensor, v: Tensor) -> Tensor:
        return (u * v).flatten(1).sum(1).reshape(-1, *(1,) * (u.ndim - 1))

    x, r = torch.zeros_like(b), b
    p, rr = r, dot(r, r)
    tiny = 1e-24 * rr
    running = rr > tiny
    for _ in range(iterations):
        q = apply(p)
        curvature = dot(p, q)
        running = running & (rr > tiny) & (curvature > least * dot(p, p))
        step = torch.where(running, rr / torch.where(running, curvature, 1.0), 0.0)
        x, r = x + step * p, r - step * q
        after = dot(r, r)
        p = r + torch.where(running, after / torch.where(running, rr, 1.0), 0.0) * p
        rr = after
    return x
