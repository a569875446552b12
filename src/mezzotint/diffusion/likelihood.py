"""Likelihoods: the variational bound of the ancestral chain, and the log-density of the probability-flow ODE.

Data lie in [-1, 1]; the bound's decoder and `bits_per_dim` assume 256 values in that range.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from mezzotint.devices import finest, finest_dtype
from mezzotint.randomness import KeyedRandom

from .coordinates import Coordinate, FlowCoordinate
from .denoiser import Denoise
from .gaussian import posterior, transition
from .grids.spacings import Grid
from .levels import NoiseLevel, broadcast_like
from .prediction import Prediction
from .samplers.runge_kutta import CLASSICAL, Tableau
from .scalar_ops import Number, where
from .schedules.continuous import Schedule
from .variances import PosteriorVariance, Variance

BITS = 1.0 / math.log(2.0)


@dataclass(frozen=True, eq=False)
class VariationalBound:
    """The terms of the variational bound per example, in bits per dimension.

    Args:
        prior: L_T = KL(q(x_T | x0) || N(0, prior_std^2)), (B,).
        diffusion: L_{t-1} = KL(q(x_s | x_t, x0) || p(x_s | x_t)) of the steps to noisy levels, (B, N - 1).
        decoder: L_0 = -log p(x0 | x_1) of the last step, (B,).
    """

    prior: Tensor
    diffusion: Tensor
    decoder: Tensor

    @property
    def total(self) -> Tensor:
        """The bound, (B,)."""
        return self.prior + self.diffusion.sum(1) + self.decoder


@torch.no_grad()
def variational_bound(
    denoise: Denoise, x0: Tensor, grid: Grid, draws: KeyedRandom, variance: Variance | None = None, **cond: Any
) -> VariationalBound:
    """Return the bound on -log p(x0) of ancestral sampling along a grid, with one sample of x_t per term.

    Source: Ho et al. 2020, eq. 5, https://arxiv.org/abs/2006.11239; Nichol and Dhariwal 2021, eqs. 4 to 7

    Args:
        denoise: called once per step; its memory is reset.
        x0: data (B, C, H, W), with 256 values in [-1, 1].
        grid: the chain, from noise to a clean last level.
        draws: the stream of the noise, purpose "bound".
        variance: of p(x_s | x_t); PosteriorVariance by default.
    """
    if len(grid) < 2 or not grid[-1].clean:
        raise ValueError(
            f"The grid ends with {grid[-1:]}, and the bound needs a last step to clean data. Append a clean level."
        )
    first, run, variance = grid[0], denoise.begin(), variance or PosteriorVariance()
    clipped = clipped_variance(grid[-2], grid[-3] if len(grid) > 2 else None)
    terms = []
    for i, (t, s) in enumerate(pairwise(grid)):
        eps = draws.to(x0.device).normal("bound", x0.shape[1:], i).to(x0)
        terms.append(bound_term(run(t.perturb(x0, eps), t, **cond), x0, s, t, clipped, variance))
    *diffusion, decoder = terms
    prior = prior_term(x0, first, denoise.schedule.prior_std(first))
    return VariationalBound(prior, torch.stack(diffusion, 1) if diffusion else prior.new_zeros(len(x0), 0), decoder)


def prior_term(x0: Tensor, level: NoiseLevel, std: float = 1.0) -> Tensor:
    """Return KL(N(alpha x0, sigma^2) || N(0, std^2)) in bits per dimension, (B,)."""
    share = (level.sigma / std) ** 2
    kl = 0.5 * (share - 1.0 - math.log(share) + (level.alpha / std * finest(x0)) ** 2)
    return BITS * kl.flatten(1).mean(1)


def bound_term(
    pred: Prediction, x0: Tensor, s: NoiseLevel, t: NoiseLevel, clipped: Number, variance: Variance
) -> Tensor:
    """Return KL(q(x_s | x_t, x0) || p(x_s | x_t)), or -log p(x0 | x_t) where s is clean, in bits per dimension, (B,).

    Args:
        pred: the prediction at t.
        x0: data (B, C, H, W).
        s, t: two float levels, or two levels per example.
        clipped: replaces the posterior variance where s is clean and it is zero.
        variance: of p(x_s | x_t).
    """
    x0, guess = finest(x0), finest(pred.x0)
    _, clean, small = posterior(s, t)
    small = where(s.clean, clipped, small)
    large = transition(s, t)[1]
    fraction = None if pred.fraction is None else finest(pred.fraction)
    chosen = variance.between(small, large, Prediction(pred.x, pred.level, pred.value, pred.a, pred.b, fraction))
    var, q_var = (torch.as_tensor(broadcast_like(v, x0), dtype=x0.dtype) for v in (chosen, small))
    kl = 0.5 * ((var / q_var).log() + (q_var + (broadcast_like(clean, x0) * (x0 - guess)) ** 2) / var - 1.0)
    kl = kl.expand_as(x0).flatten(1).mean(1)
    if not s.batched and not s.clean:
        return BITS * kl
    nll = -discretised_log_probability(x0, guess, var.sqrt()).flatten(1).mean(1)
    return BITS * torch.where(torch.as_tensor(s.clean).to(kl.device, non_blocking=True), nll, kl)


def clipped_variance(first: NoiseLevel, second: NoiseLevel | None) -> Number:
    """Return the posterior variance of the last step but one, which replaces the zero of the last step.

    For a single step, the transition variance. Source: Nichol and Dhariwal 2021 (code)
    """
    if second is None:
        return transition(NoiseLevel(1.0, 0.0), first)[1]
    return posterior(first, second)[2]


def chain_term(pred: Prediction, x0: Tensor, t: Tensor, schedule: Schedule, variance: Variance) -> Tensor:
    """Return `bound_term` at times t (B,), one per example, on the schedule's chain (`Schedule.previous`)."""
    steps = schedule.steps or 1000
    one = schedule.t_max / steps
    second = schedule.level(2.0 * one) if steps > 1 else None
    clipped = clipped_variance(schedule.level(one), second)
    return bound_term(pred, x0, schedule.level(schedule.previous(t)), pred.level, clipped, variance)


def discretised_log_probability(x: Tensor, mean: Tensor, std: Tensor, values: int = 256) -> Tensor:
    """Return the log-probability under N(mean, std^2) of the bin of x, one of `values` in [-1, 1]; outer bins are open.

    Uses log Phi in float64, accurate in both tails.

    Source: Ho et al. 2020, eq. 13, https://arxiv.org/abs/2006.11239
    """
    half, least = 1.0 / (values - 1), max(1e-300, torch.finfo(mean.dtype).tiny)
    low = torch.where(x <= -1.0 + half, -math.inf, (x - half - mean) / std)
    high = torch.where(x >= 1.0 - half, math.inf, (x + half - mean) / std)
    flip = low + high > 0  # reflect to the lower tail, where log Phi is accurate
    low, high = torch.where(flip, -high, low), torch.where(flip, -low, high)
    top, bottom = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
    return top + torch.log(-torch.expm1((bottom - top).clamp(max=-least)))


def ode_log_likelihood(
    denoise: Denoise,
    x: Tensor,
    grid: Grid,
    probes: KeyedRandom | None = None,
    n_probes: int = 1,
    coordinate: Coordinate | None = None,
    tableau: Tableau = CLASSICAL,
    **cond: Any,
) -> Tensor:
    """Return log p(x) in nats under the probability-flow ODE, (B,) float64, by the change of variables formula.

    With y = x / m and dy/du = f, log p(x) = log p_T(y_T) + integral of div f du - D log m, p_T normal with the standard
    deviation of `Schedule.prior_std`.

    Source: Song et al. 2021, app. D.2, https://arxiv.org/abs/2011.13456

    Args:
        denoise: differentiable in x.
        x: the state at the last level of the grid; for a network, preferably a slightly noisy level.
        grid: from noise to x's level, as for sampling; traversed in reverse.
        probes: the stream ("probe") of random signs for Hutchinson's trace estimate; None computes the exact trace,
            with D backward passes per call.
        n_probes: number of probes to average.
        coordinate: the coordinate in which the ODE is solved; FlowCoordinate by default.
        tableau: the Runge-Kutta method.
    """
    at, run = coordinate or FlowCoordinate(), denoise.begin()
    signs = _signs(x, probes, n_probes)
    (m, u), log_density = at.of(grid[-1]), torch.zeros(len(x), dtype=finest_dtype(x.device), device=x.device)
    y = x / m
    log_density -= x[0].numel() * math.log(m)
    for level in reversed(grid[:-1]):
        m_next, u_next = at.of(level)
        h, slopes, traces = u_next - u, [], []
        for row in ((), *tableau.rows):
            stage = y + sum((h * w * k for w, k in zip(row, slopes, strict=True)), torch.zeros_like(y))
            slope, trace = _field_and_trace(run, stage, at.level(u + h * sum(row)), at, signs, cond)
            slopes.append(slope)
            traces.append(trace)
        y = y + sum((h * w * k for w, k in zip(tableau.weights, slopes, strict=True)), torch.zeros_like(y))
        log_density += h * sum(
            (w * k for w, k in zip(tableau.weights, traces, strict=True)), torch.zeros_like(log_density)
        )
        m, u = m_next, u_next
    std = denoise.schedule.prior_std(grid[0]) / m
    z = (finest(y) / std).flatten(1)
    return log_density - 0.5 * (z**2).sum(1) - z.shape[1] * (0.5 * math.log(2.0 * math.pi) + math.log(std))


def _signs(x: Tensor, probes: KeyedRandom | None, n: int) -> Tensor | None:
    """Return random signs, (n, B, ...)."""
    if probes is None:
        return None
    stream = probes.to(x.device)
    return torch.stack([torch.where(stream.normal("probe", x.shape[1:], i) < 0, -1.0, 1.0).to(x) for i in range(n)])


def _field_and_trace(
    run: Denoise, y: Tensor, level: NoiseLevel, at: Coordinate, signs: Tensor | None, cond: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """Return f(y) and its divergence, (B,) float64."""
    with torch.enable_grad():
        y = y.detach().requires_grad_()
        f = at.field(run(y, level, **cond))
        if signs is None:
            flat = f.flatten(1)
            rows = [torch.autograd.grad(flat[:, i].sum(), y, retain_graph=True)[0] for i in range(flat.shape[1])]
            trace = torch.stack([finest(row.flatten(1)[:, i]) for i, row in enumerate(rows)]).sum(0)
        else:
            grads = [torch.autograd.grad((f * v).sum(), y, retain_graph=True)[0] for v in signs]
            trace = sum((finest((g * v).flatten(1)).sum(1) for g, v in zip(grads, signs, strict=True))) / len(signs)
    return f.detach(), torch.as_tensor(trace)


def bits_per_dim(log_likelihood: Tensor, dimensions: int) -> Tensor:
    """Return bits per dimension of 8-bit data from a log-density (nats) on [-1, 1], under uniform dequantisation.

    Source: Theis et al. 2016, https://arxiv.org/abs/1511.01844
    """
    return BITS * (math.log(128.0) - log_likelihood / dimensions)


def dequantise(images: Tensor, draws: KeyedRandom) -> Tensor:
    """Return uint8 images (B, C, H, W) plus uniform noise of one value, in [-1, 1], float64; stream "dequantise"."""
    normal = draws.to(images.device).normal("dequantise", images.shape[1:]).to(images.device)
    return (finest(images) + torch.special.ndtr(finest(normal))) / 128.0 - 1.0
