"""The first step of multistep samplers, which have no earlier predictions yet.

In noise a prediction hardly changes from step to step, and a first step of order 1 (DDIM's) has no visible cost. At
lower noise (editing, inversion, each loop of a restart) it would limit the order to 2, whatever the later steps are:
there the first step is taken by a one-step method, at one or two extra calls.
"""

from torch import Tensor

from ..denoiser import Predict
from ..grids.spacings import Grid
from ..levels import NoiseLevel
from ..noise_sources import global_noise
from ..prediction import Prediction
from .base import rho
from .runge_kutta import Heun3, Midpoint, RungeKutta

NOISE = 10.0  # a grid starts in noise at this sigma / alpha or above: unit data then are 1 % of the variance of x


def starter(order: int | None, first: int, grid: Grid) -> RungeKutta | None:
    """Return the method of the first step, or None where the sampler's own suffices: in noise, and for low orders.

    A single step of a method of order p - 1 has an error of h^p, which is all that global order p requires.

    Args:
        order: the sampler's order; None for stochastic samplers, whose weak order is at most 2.
        first: the order of the sampler's own first step.
        grid: the levels to visit.
    """
    if order is None or order - 1 <= first or rho(grid[0]) >= NOISE:
        return None
    return Midpoint() if order == 3 else Heun3()


def run_up(
    start: RungeKutta, denoise: Predict, x: Tensor, now: NoiseLevel, next: NoiseLevel
) -> tuple[Tensor, list[tuple[NoiseLevel, Prediction]]]:
    """Return x after a step of the method, and the predictions of its stages with their levels, from `now` on.

    Of the later stages only the last is as accurate as the step itself.
    """
    stages: list[tuple[NoiseLevel, Prediction]] = []

    def record(x: Tensor, level: NoiseLevel, /, **cond: object) -> Prediction:
        stages.append((level, denoise(x, level)))
        return stages[-1][1]

    x, _ = start.step(record, x, now, next, None, global_noise)
    return x, stages
