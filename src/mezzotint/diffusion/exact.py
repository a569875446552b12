"""Exact denoisers for known data distributions: Gaussian mixtures, and so Gaussians and finite sets of points.

They implement `Denoise` in float64 for any schedule, frame and dimension. Samplers, objectives and likelihoods are
tested against them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mezzotint.randomness import KeyedRandom

from .levels import NoiseLevel, broadcast_like
from .prediction import Prediction
from .schedules.continuous import Schedule


@dataclass(frozen=True, eq=False)
class ExactMixture:
    r"""Data sum_k w_k N(mu_k, s_k^2), hence q(x_t) = sum_k w_k N(alpha mu_k, v_k) with v_k = alpha^2 s_k^2 + sigma^2.

    E[x0 | x] = sum_k r_k (mu_k + alpha s_k^2 / v_k d_k) and E[eps | x] = sum_k r_k sigma / v_k d_k with
    d_k = x - alpha mu_k and r_k the probability of component k given x.

    Args:
        schedule: the schedule of the process.
        means: mu, (K, *shape) float64.
        stds: s, (K, *shape) float64; zeros for points.
        weights: w, (K,) float64, positive, with sum 1.
    """

    schedule: Schedule
    means: Tensor
    stds: Tensor
    weights: Tensor

    def begin(self) -> ExactMixture:
        return self

    def __call__(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction:
        """Return the exact prediction, as a combination of x0 and eps that is regular at both ends."""
        alpha, sigma, offset, variance = self._noisy(x, level)
        r = self._log_terms(offset, variance).softmax(1).reshape(len(x), -1, *(1,) * (x.ndim - 1))
        slope = offset / variance
        x0 = (r * (self.means.to(slope) + alpha * self.stds.to(slope) ** 2 * slope)).sum(1)
        eps = (r * sigma * slope).sum(1)
        a, b = -level.sigma / level.norm, level.alpha / level.norm
        return Prediction(x, level, (broadcast_like(a, x0) * x0 + broadcast_like(b, x0) * eps).to(x.dtype), a, b)

    def predict(self, x: Tensor, t: Tensor, **cond: Any) -> Prediction:
        """Return the exact prediction at times t (B,), one per example."""
        return self(x, self.schedule.level(t), **cond)

    def log_density(self, x: Tensor, level: NoiseLevel) -> Tensor:
        """Return log q(x_t) in nats, (B,) float64."""
        _, _, offset, variance = self._noisy(x, level)
        return self._log_terms(offset, variance).logsumexp(1)

    def data(self, draws: KeyedRandom) -> Tensor:
        """Return samples of the data from keyed streams, (B, *shape) float64."""
        edges = self.weights.cumsum(0)[:-1]
        k = torch.searchsorted(edges, draws.uniform("component"))
        return self.means[k] + self.stds[k] * draws.normal("data", self.means.shape[1:]).double()

    def _noisy(self, x: Tensor, level: NoiseLevel) -> tuple[Tensor | float, Tensor | float, Tensor, Tensor]:
        """Return alpha, sigma, and per component, (B, K, *shape), the offset x - alpha mu and the variance."""
        point = x.double().unsqueeze(1)
        alpha, sigma = broadcast_like(level.alpha, point), broadcast_like(level.sigma, point)
        offset = point - alpha * self.means.to(point)
        return alpha, sigma, offset, (alpha * self.stds.to(point)) ** 2 + sigma**2

    def _log_terms(self, offset: Tensor, variance: Tensor) -> Tensor:
        """Return log(w_k N(x; alpha mu_k, v_k)), (B, K)."""
        exponent = offset**2 / variance + (2.0 * math.pi * variance).log()
        return self.weights.to(offset).log() - 0.5 * exponent.flatten(2).sum(2)


def exact_gaussian(schedule: Schedule, mean: Tensor, std: Tensor | float) -> ExactMixture:
    """Return the exact denoiser of N(mean, diag(std^2)); mean has the shape of one example, as may std."""
    mean = mean.double()
    return ExactMixture(schedule, mean[None], (torch.zeros_like(mean) + std)[None], torch.ones(1, dtype=torch.float64))


def exact_points(schedule: Schedule, points: Tensor, weights: Tensor | None = None) -> ExactMixture:
    """Return the exact denoiser of a finite set of points (K, *shape), by default equally likely."""
    points = points.double()
    weights = points.new_ones(len(points)) if weights is None else weights.double()
    return ExactMixture(schedule, points, torch.zeros_like(points), weights / weights.sum())
