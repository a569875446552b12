"""Every deterministic sampler converges at the order it declares, on a target that is not Gaussian."""

import pytest
from sampler_table import error, geometric, slope

from mezzotint.diffusion import VP, ContinuousCosine, Rectified, SASolver


def test_sampler_has_its_declared_order(deterministic):
    counts = (128, 256, 512)
    errors = [error(deterministic, VP(), geometric(n)) for n in counts]
    assert slope(errors, counts) == pytest.approx(deterministic.order, abs=0.15)


@pytest.mark.parametrize("adams", [SASolver(2, 2, 0.0), SASolver(3, 3, 0.0), SASolver(2, 0, 0.0)], ids=str)
def test_sa_solver_without_noise_is_adams(adams):
    assert adams.order == {0: 2, 2: 2, 3: 3}[adams.corrector]
    counts = (512, 1024, 2048)  # its errors change sign on coarser grids
    errors = [error(adams, VP(), geometric(n)) for n in counts]
    assert slope(errors, counts) == pytest.approx(adams.order, abs=0.15)


@pytest.mark.parametrize("schedule", [Rectified(), ContinuousCosine()], ids=repr)
def test_order_from_pure_noise(deterministic, schedule):
    """From alpha = 0, uniformly in time to a little noise; samplers that cannot start there say so.

    Formulas in log-SNR see steps of log 2, log 3/2, ... there, which costs their slope a logarithm: hence nearer to
    the declared order than to the one below.
    """

    def grid(n):
        return tuple(schedule.level(1.0 - 0.95 * i / n) for i in range(n + 1))

    assert grid(1)[0].alpha == 0.0
    counts = (128, 256, 512)
    try:
        deterministic.init(grid(4))
    except ValueError:
        pytest.skip("refuses alpha = 0")
    errors = [error(deterministic, schedule, grid(n)) for n in counts]
    assert slope(errors, counts) > deterministic.order_from_noise - 0.6
