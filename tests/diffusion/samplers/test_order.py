"""Every deterministic sampler converges at the order it declares, on a target that is not Gaussian."""

import pytest
import torch
from sampler_table import Mixture, error, geometric, slope

from mezzotint.diffusion import (
    DEIS,
    LMS,
    RK4,
    ContinuousCosineSchedule,
    EDMSchedule,
    ExponentialAdamsBashforth,
    NoiseLevel,
    RectifiedFlowSchedule,
    Renoised,
    SASolver,
    UniPC,
    VPSchedule,
    integrate,
)


def test_sampler_has_its_declared_order(deterministic):
    counts = (128, 256, 512)
    errors = [error(deterministic, VPSchedule(), geometric(n)) for n in counts]
    assert slope(errors, counts) == pytest.approx(deterministic.order, abs=0.15)


@pytest.mark.parametrize(("first", "last"), [(1.0, 0.1), (8.0, 0.1), (0.1, 3.0)], ids=["edit", "early", "inversion"])
def test_order_holds_from_half_way(deterministic, first, last):
    """Where the first step is taken with nothing to look back to, and the path already bends; upwards as well."""
    counts = (128, 256, 512)
    errors = [error(deterministic, VPSchedule(), geometric(n, first, last)) for n in counts]
    assert slope(errors, counts) > deterministic.order - 0.15


HIGH = [LMS(4), DEIS(3), ExponentialAdamsBashforth(3), ExponentialAdamsBashforth(4), UniPC(3)]


def same_noise(x, now, next):
    return torch.full_like(x, 0.3)


@pytest.mark.parametrize("high", HIGH, ids=str)
def test_order_holds_in_every_loop_of_a_restart(high):
    """Down, up by the same noise and down again, against RK4 on a fine grid."""

    def end(each, n):
        down, again = geometric(2 * n, 5.0, 0.1), geometric(n, 1.5, 0.1)
        x = torch.linspace(-8.0, 8.0, 9, dtype=torch.float64)[:, None]
        return integrate(Mixture(EDMSchedule()), Renoised(each), (*down, *again, *again), x, same_noise)

    wanted, counts = end(RK4(), 800), (64, 128, 256)
    errors = [float((end(high, n) - wanted).abs().max()) for n in counts]
    assert slope(errors, counts) > high.order - 0.25


@pytest.mark.parametrize("high", HIGH, ids=str)
def test_a_start_in_noise_costs_no_further_call(high):
    """The first step costs more only where it begins half-way, and not where it is the only one."""

    def calls(grid):
        seen = []
        integrate(Mixture(EDMSchedule()), high, grid, torch.ones(2, 1, dtype=torch.float64), watch=seen.append)
        return seen[-1].calls

    more = {3: 1, 4: 2}[high.order]
    for first, wanted in ((80.0, 6), (10.0, 6), (9.0, 6 + more), (0.5, 6 + more)):
        assert calls(geometric(6, first, 0.05)) == wanted
    assert calls((NoiseLevel(1.0, 0.5), NoiseLevel(1.0, 0.0))) == 1


@pytest.mark.parametrize("adams", [SASolver(2, 2, 0.0), SASolver(3, 3, 0.0), SASolver(2, 0, 0.0)], ids=str)
def test_sa_solver_without_noise_is_adams(adams):
    assert adams.order == {0: 2, 2: 2, 3: 3}[adams.corrector]
    counts = (512, 1024, 2048)  # its errors change sign on coarser grids
    errors = [error(adams, VPSchedule(), geometric(n)) for n in counts]
    assert slope(errors, counts) == pytest.approx(adams.order, abs=0.15)


@pytest.mark.parametrize("schedule", [RectifiedFlowSchedule(), ContinuousCosineSchedule()], ids=repr)
def test_order_from_pure_noise(deterministic, schedule):
    """From alpha = 0, uniformly in time to a little noise.

    Formulas in log-SNR see steps of log 2, log 3/2, ... there, which costs their slope a logarithm: hence nearer to
    the declared order than to the one below.
    """

    def grid(n):
        return tuple(schedule.level(1.0 - 0.95 * i / n) for i in range(n + 1))

    assert grid(1)[0].alpha == 0.0
    counts = (128, 256, 512)
    errors = [error(deterministic, schedule, grid(n)) for n in counts]
    assert slope(errors, counts) > deterministic.order_from_noise - 0.6


@pytest.mark.parametrize("adams", [SASolver(3, 0, 0.0), SASolver(4, 0, 0.0), SASolver(3, 4, 0.0), SASolver(4, 4, 0.0)])
def test_adams_of_high_order_from_half_way(adams):
    counts = (128, 256, 512)
    errors = [error(adams, VPSchedule(), geometric(n, 1.0, 0.1)) for n in counts]
    assert slope(errors, counts) > adams.order - 0.15
