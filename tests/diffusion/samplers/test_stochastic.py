"""Stochastic samplers keep the mean and the variance of the data, measured without Monte Carlo.

On Gaussian data every sampler here is affine in its start and its noise, so one batch holds everything: a row from 0
without noise, a row from 1, and for each draw a row that gets 1 there. Squares of the differences add up to the exact
variance of what the sampler would draw.
"""

import math

import pytest
import torch
from sampler_table import Mixture, geometric, slope

from mezzotint.diffusion import (
    DDIM,
    DDPM,
    ERSDE,
    BrownianNoise,
    DPMSolverPP,
    EDMSchedule,
    EDMStochastic,
    ExponentialAdamsBashforth,
    Heun,
    Karras,
    KeyedRandom,
    LangevinCorrected,
    NoiseLevel,
    Prediction,
    RectifiedFlowSchedule,
    Renoised,
    SASolver,
    Trailing,
    TransitionVariance,
    integrate,
)
from mezzotint.diffusion.coordinates import NoiseCoordinate

MEAN, STD = 0.7, 0.4


class Gauss:
    """The exact denoiser of N(MEAN, STD^2)."""

    schedule = EDMSchedule()

    def begin(self):
        return self

    def __call__(self, x, level):
        gain = level.alpha * STD**2 / ((level.alpha * STD) ** 2 + level.sigma**2)
        return Prediction(x, level, MEAN + gain * (x - level.alpha * MEAN), 1.0, 0.0)


class Impulses:
    """Draw number k is 1 in row k + 2 and 0 elsewhere."""

    def __init__(self):
        self.drawn = 0

    def __call__(self, x, now, next):
        self.drawn += 1
        e = torch.zeros_like(x)
        if self.drawn + 1 < len(x):
            e[self.drawn + 1] = 1.0
        return e


def moments(sampler, grid):
    """Exact mean and variance at the end of the grid, from the true ones at its start."""
    count = Impulses()
    integrate(Gauss(), sampler, grid, torch.zeros(1, 1, dtype=torch.float64), count)
    x = torch.zeros(count.drawn + 2, 1, dtype=torch.float64)
    x[1] = 1.0
    end = integrate(Gauss(), sampler, grid, x, Impulses())[:, 0]
    response = end[1:] - end[0]
    mean, variance = marginal(grid[0])
    return float(end[0] + response[0] * mean), float(response[0] ** 2 * variance + response[1:].square().sum())


def marginal(level):
    return level.alpha * MEAN, (level.alpha * STD) ** 2 + level.sigma**2


def errors(sampler, grid):
    mean, variance = moments(sampler, grid)
    exact_mean, exact_variance = marginal(grid[-1])
    return abs(mean - exact_mean), abs(variance / exact_variance - 1.0)


def test_mean_and_variance_are_kept(stochastic):
    """Within 2 % at 800 steps; inflation and long Langevin steps, biased by design, aside."""
    if isinstance(stochastic, EDMStochastic):
        stochastic = EDMStochastic(stochastic.sampler, s_noise=1.0)
    if isinstance(stochastic, LangevinCorrected):
        stochastic = LangevinCorrected(stochastic.sampler, stochastic.n, snr=0.02)
    mean, variance = errors(stochastic, Karras(800, sigma_min=0.01)(EDMSchedule()))
    assert mean < 5e-3
    assert variance < 2e-2


@pytest.mark.parametrize("first", [40.0, 1.5])
def test_weak_order_is_as_declared(stochastic, first):
    if stochastic.weak_order is None:
        pytest.skip("declares none")
    if isinstance(stochastic, EDMStochastic):
        stochastic = EDMStochastic(stochastic.sampler, s_noise=1.0)
    counts = (128, 256, 512)
    found = [errors(stochastic, geometric(n, first, 0.1)) for n in counts]
    if max(found[0]) < 1e-9:
        return  # exact
    for which in zip(*found, strict=True):
        if which[0] > 1e-9:
            assert slope(which, counts) > stochastic.weak_order - 0.15, found


@pytest.mark.parametrize("eta", [0.3, 1.0, 1.7])
def test_any_share_of_noise_keeps_the_law(eta):
    """From no noise to more than the reverse SDE has, the law of what is drawn stays and only the path changes."""
    for sampler in (ExponentialAdamsBashforth(2, eta=eta), DPMSolverPP(2, eta), SASolver(2, 2, eta)):
        mean, variance = errors(sampler, geometric(200, 40.0, 0.05))
        assert mean < 1e-3
        assert variance < 2e-3


def test_large_variance_is_larger():
    """Fixed large at few steps: too much noise, as the paper's table of sigma-hat shows."""
    grid = Karras(20, sigma_min=0.01)(EDMSchedule())[:-1]
    small, large = moments(DDPM(), grid)[1], moments(DDPM(TransitionVariance()), grid)[1]
    assert small < marginal(grid[-1])[1] < large


def test_s_noise_inflates_the_variance_by_design():
    grid = geometric(100, 40.0, 0.05)
    plain, inflated = (moments(EDMStochastic(Heun(), s_noise=s), grid)[1] for s in (1.0, 1.003))
    assert plain == pytest.approx(marginal(grid[-1])[1], rel=1e-3)
    assert inflated > 1.0005 * plain


def test_churn_adds_exactly_the_missing_noise():
    """The first churned step, against algorithm 2 by hand: 10 steps, S_churn 2, so gamma = 0.2 inside the band."""
    seen = []

    class Listening(Gauss):
        def __call__(self, x, level):
            seen.append((x, level))
            return super().__call__(x, level)

    grid = geometric(10, 10.0, 0.1)
    sampler = EDMStochastic(Heun(NoiseCoordinate()), s_churn=2.0, s_tmin=0.05, s_tmax=50.0, s_noise=1.003)
    x, z = torch.tensor([[3.0]], dtype=torch.float64), torch.tensor([[0.5]], dtype=torch.float64)
    sampler.step(Listening(), x, grid[0], grid[1], sampler.init(grid), lambda *_: z)
    raised, level = seen[0]
    assert level == NoiseLevel(1.0, 12.0)
    torch.testing.assert_close(raised, x + (12.0**2 - 10.0**2) ** 0.5 * 1.003 * z, rtol=1e-12, atol=0)
    seen.clear()
    sampler.step(Listening(), x, NoiseLevel(1.0, 60.0), grid[0], sampler.init(grid), lambda *_: z)
    assert seen[0][1] == NoiseLevel(1.0, 60.0)


def test_restart_keeps_the_law_where_noise_is_added():
    """Down, up and down again: the second descent ends in the data's law too."""
    down = geometric(100, 40.0, 0.05)
    again = geometric(100, 2.0, 0.05)
    mean, variance = errors(Renoised(Heun(NoiseCoordinate())), (*down, *again, *again))
    assert mean < 1e-3
    assert variance < 1e-3


def test_without_renoise_the_grid_is_inverted_instead():
    """Nothing is drawn, and going up and down again returns to where one was."""
    down, again = geometric(100, 40.0, 0.05), geometric(100, 2.0, 0.05)
    x = torch.full((1, 1), 30.0, dtype=torch.float64)
    once = integrate(Gauss(), Heun(NoiseCoordinate()), down, x)
    thrice = integrate(Gauss(), Heun(NoiseCoordinate()), (*down, *again[::-1], *again), x)
    torch.testing.assert_close(thrice, once, rtol=0, atol=1e-4)


def test_langevin_steps_shrink_towards_the_law_by_the_known_factor():
    """At one level the corrector is x <- x - e (x - mean) / v + sqrt(2 e) z, e = 2 (r sigma)^2."""
    level, snr = NoiseLevel(0.8, 0.6), 0.2

    class Still(DDIM):
        def step(self, denoise, x, now, next, state, noise):
            return x, state

    x = torch.tensor([[0.0], [1.0], [0.0]], dtype=torch.float64)
    noise = Impulses()
    end, _ = LangevinCorrected(Still(), 1, snr).step(Gauss(), x, level, level, None, noise)
    mean, v = marginal(level)
    e = 2.0 * (snr * level.sigma) ** 2
    wanted = torch.tensor([e * mean / v, 1.0 - e / v + e * mean / v, math.sqrt(2.0 * e) + e * mean / v]).double()
    torch.testing.assert_close(end[:, 0], wanted, rtol=1e-6, atol=1e-8)


def test_stochastic_samplers_start_from_pure_noise(stochastic):
    """On rectified flow, where x is pure noise at t = 1."""
    grid = Trailing(400)(RectifiedFlowSchedule())
    assert grid[0].alpha == 0.0
    mean, variance = moments(stochastic, grid[:-1])
    exact_mean, exact_variance = marginal(grid[-2])
    assert abs(mean - exact_mean) < 0.02
    assert abs(variance / exact_variance - 1.0) < 0.06


def test_sa_solver_without_corrector_is_exponential_adams():
    grid = geometric(12, 40.0, 0.05)
    for points in (1, 2, 3):
        for eta in (0.0, 0.5, 1.0):
            got, wanted = (
                moments(s, grid) for s in (SASolver(points, 0, eta), ExponentialAdamsBashforth(points, eta=eta))
            )
            assert got == pytest.approx(wanted, rel=1e-10)


def test_one_point_of_noise_is_ddpm():
    grid = geometric(12, 40.0, 0.05)
    for sampler in (DPMSolverPP(1, 1.0), ExponentialAdamsBashforth(1, eta=1.0), SASolver(1, 0, 1.0), DDIM(1.0)):
        assert moments(sampler, grid) == pytest.approx(moments(DDPM(), grid), rel=1e-10)


def test_sa_solver_is_deterministic_outside_its_band():
    grid = geometric(12, 40.0, 0.05)
    assert moments(SASolver(2, 2, 1.0, low=50.0), grid) == pytest.approx(moments(SASolver(2, 2, 0.0), grid), rel=1e-12)
    assert moments(SASolver(2, 2, 1.0, low=0.1, high=1.0), grid) != moments(SASolver(2, 2, 1.0), grid)


@pytest.mark.parametrize("drawing", [DDIM(1.0), DPMSolverPP(2, eta=1.0), SASolver(3, 3), ERSDE(3)], ids=str)
def test_on_one_brownian_path_finer_steps_come_nearer_to_its_end(drawing):
    """Not in law but path by path: half the steps, about twice the distance."""
    fine = geometric(800, 40.0, 0.1)
    draws = KeyedRandom(0, torch.arange(64))
    start = 40.0 * draws.normal("start", (1,)).double()

    def end(every):
        return integrate(Mixture(EDMSchedule()), drawing, fine[::every], start, BrownianNoise(draws, fine))

    wanted = end(1)
    misses = [float((end(every) - wanted).square().mean().sqrt()) for every in (8, 16, 32)]
    assert misses[0] < 0.05
    assert slope(misses, (100, 50, 25)) > 0.7
    other = integrate(
        Mixture(EDMSchedule()), drawing, fine[::8], start, BrownianNoise(KeyedRandom(1, torch.arange(64)), fine)
    )
    assert (other - wanted).square().mean().sqrt() > 0.3
