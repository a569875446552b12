"""The first step of multistep samplers, which have no earlier predictions yet.

In noise a prediction hardly changes from step to step, and DDIM's first step, of order 1, costs nothing that is seen.
Half-way (editing, inversion, each loop of a restart) it would leave order 2, whatever the later steps are: there the
first step is that of a one-step method, at one or two further calls.
"""

from typing import Any

from torch import Tensor

from ..grids.spacings import Grid
from ..levels import NoiseLevel
from ..prediction import Prediction
from .base import rho
from .runge_kutta import Heun3, Midpoint, RungeKutta

NOISE = 10.0  # sigma / alpha from which on a grid starts in noise: data of unit variance are 1 % of x's or less


def starter(order: int | None, first: int, grid: Grid) -> RungeKutta | None:
    """The method of the first step, or None where the sampler's own is good enough: in noise, and for low orders.

    A single step of a method of order p - 1 has an error of h^p, all that global order p asks for.

    Args:
        order: of the sampler; None for stochastic ones, which are of weak order 2 at most.
        first: order of its own first step.
    """
    if order is None or order - 1 <= first or rho(grid[0]) >= NOISE:
        return None
    return Midpoint() if order == 3 else Heun3()


def run_up(
    start: RungeKutta, denoise: Any, x: Tensor, now: NoiseLevel, next: NoiseLevel
) -> tuple[Tensor, list[tuple[NoiseLevel, Prediction]]]:
    """x after a step of the method, and what was predicted on the way, from `now` on.

    Of the stages between, only the last is as near to the path as the step that is made of them.
    """
    seen: list[tuple[NoiseLevel, Prediction]] = []

    def listen(x: Tensor, level: NoiseLevel) -> Prediction:
        seen.append((level, denoise(x, level)))
        return seen[-1][1]

    x, _ = start.step(listen, x, now, next, None, None)
    return x, seen
