"""The exact denoisers, on which everything else is proven, against sums and derivatives done another way."""

import math

import pytest
import torch

from mezzotint.diffusion import (
    EDMSchedule,
    ExactMixture,
    KeyedRandom,
    NoiseLevel,
    RectifiedFlowSchedule,
    VPSchedule,
    exact_gaussian,
    exact_points,
)

MEANS = torch.tensor([[1.5, -0.4], [-1.0, 0.3], [0.2, 2.0]]).double()
STDS = torch.tensor([[0.3, 0.5], [0.6, 0.2], [0.0, 0.4]]).double()
WEIGHTS = torch.tensor([0.2, 0.5, 0.3]).double()
X = torch.tensor([[0.3, -0.2], [1.7, 0.9], [-2.0, 1.0]]).double()
LEVELS = [NoiseLevel(0.8, 0.6), NoiseLevel(0.1, 2.0), NoiseLevel(1.0, 0.3), NoiseLevel(0.0, 1.0)]


@pytest.mark.parametrize("level", LEVELS, ids=repr)
def test_eps_is_the_score(level):
    """E[eps | x] = -sigma grad log q(x), by autograd of the density."""
    exact = ExactMixture(VPSchedule(), MEANS, STDS, WEIGHTS)
    x = X.clone().requires_grad_()
    (score,) = torch.autograd.grad(exact.log_density(x, level).sum(), x)
    pred = exact(X, level)
    torch.testing.assert_close(pred.eps, -level.sigma * score, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(level.perturb(pred.x0, pred.eps), X, rtol=1e-12, atol=1e-12)


def test_density_is_the_mixture_of_torch_distributions():
    level = NoiseLevel(0.8, 0.6)
    parts = torch.distributions.Independent(
        torch.distributions.Normal(level.alpha * MEANS, ((level.alpha * STDS) ** 2 + level.sigma**2).sqrt()), 1
    )
    theirs = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(WEIGHTS), parts)
    torch.testing.assert_close(
        ExactMixture(VPSchedule(), MEANS, STDS, WEIGHTS).log_density(X, level), theirs.log_prob(X)
    )


def test_posterior_mean_by_quadrature():
    """One dimension: the integral of x0 p(x0) q(x | x0) over that of p(x0) q(x | x0)."""
    exact = ExactMixture(VPSchedule(), MEANS[:2, :1], STDS[:2, :1], WEIGHTS[:2] / WEIGHTS[:2].sum())
    grid = torch.linspace(-12, 12, 400_001, dtype=torch.float64)
    prior = torch.exp(exact.log_density(grid[:, None], NoiseLevel(1.0, 0.0)))
    level = NoiseLevel(0.7, 0.9)
    likelihood = torch.exp(-0.5 * ((X[:, :1] - level.alpha * grid) / level.sigma) ** 2)
    wanted = (likelihood * prior * grid).sum(1) / (likelihood * prior).sum(1)
    torch.testing.assert_close(exact(X[:, :1], level).x0[:, 0], wanted, rtol=1e-8, atol=1e-8)


def test_gaussian_in_closed_form():
    exact, level = exact_gaussian(EDMSchedule(), torch.tensor([1.5, -2.0]), 0.5), NoiseLevel(0.8, 0.6)
    gain = 0.8 * 0.25 / (0.64 * 0.25 + 0.36)
    wanted = torch.tensor([1.5, -2.0]).double() + gain * (X - 0.8 * torch.tensor([1.5, -2.0]).double())
    torch.testing.assert_close(exact(X, level).x0, wanted)


def test_points_become_the_nearest_one_as_noise_vanishes():
    points = torch.randn(5, 1, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    exact = exact_points(RectifiedFlowSchedule(), points)
    assert exact.weights.tolist() == [1 / len(points)] * len(points)
    level = NoiseLevel(0.999, 0.001)
    torch.testing.assert_close(exact(level.alpha * points + 0.001, level).x0, points)
    torch.testing.assert_close(exact(points, NoiseLevel(0.0, 1.0)).x0, points.mean(0, keepdim=True).expand_as(points))


def test_one_level_for_each_example():
    exact, t = ExactMixture(VPSchedule(), MEANS, STDS, WEIGHTS), torch.tensor([0.1, 0.5, 0.9]).double()
    together = exact.predict(X, t)
    for i, one in enumerate(t.tolist()):
        torch.testing.assert_close(together.x0[i], exact(X, VPSchedule().level(one)).x0[i], rtol=1e-10, atol=1e-10)


def test_named_data_has_the_mixtures_moments():
    exact = ExactMixture(VPSchedule(), MEANS, STDS, WEIGHTS)
    x0 = exact.data(KeyedRandom(0, torch.arange(100_000)))
    mean = (WEIGHTS[:, None] * MEANS).sum(0)
    var = (WEIGHTS[:, None] * (STDS**2 + MEANS**2)).sum(0) - mean**2
    error = 5 / math.sqrt(100_000)
    assert (x0.mean(0) - mean).abs().max() < error * var.max().sqrt()
    torch.testing.assert_close(x0.var(0), var, rtol=0.02, atol=0.0)


def test_it_keeps_the_callers_dtype():
    assert exact_gaussian(VPSchedule(), torch.zeros(2), 1.0)(X.float(), LEVELS[0]).x0.dtype == torch.float32
