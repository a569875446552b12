"""Runge-Kutta methods on the probability-flow ODE: a coordinate times a tableau."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..coordinates import Coordinate, Flow
from ..grids import Grid
from ..levels import NoiseLevel
from .sampler import Sampler, State


@dataclass(frozen=True)
class Tableau:
    """A Butcher tableau: stage i + 1 is y + h sum_j rows[i][j] k_j, the step y + h sum_j weights[j] k_j.

    Args:
        closing: the tableau for the step to clean data, where no network can be asked: no node at 1, and one order
            less costs nothing because it is used once. None where the tableau itself has no node at 1.
    """

    rows: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    order: int
    closing: Tableau | None = None


EULER = Tableau((), (1.0,), 1)
MIDPOINT = Tableau(((0.5,),), (0.0, 1.0), 2)
HEUN = Tableau(((1.0,),), (0.5, 0.5), 2, closing=EULER)
HEUN3 = Tableau(((1 / 3,), (0.0, 2 / 3)), (1 / 4, 0.0, 3 / 4), 3)
CLASSICAL = Tableau(((0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6), 4, closing=HEUN3)


class RungeKutta(Sampler):
    """y = x / m moves from u to u' by its tableau: y' = y + h sum_j w_j k_j, h = u' - u, k_j = dy/du at stage j.

    Stages lie anywhere between the two levels, off every table; they are asked for in the frame where m = 1.
    """

    tableau: ClassVar[Tableau]
    coordinate: Coordinate

    def __post_init__(self) -> None:
        if not isinstance(self.coordinate, Coordinate):  # there is a target Flow and a protocol Noise beside
            raise ValueError(f"coordinate={self.coordinate}: take one of mezzotint.diffusion.coordinates.")

    @property
    def order(self) -> int | None:  # type: ignore[override]
        return self.tableau.order

    @property
    def calls(self) -> int | None:  # type: ignore[override]
        return len(self.tableau.weights)

    def init(self, grid: Grid) -> State:
        for level in grid:
            if self.coordinate.of(level)[0] == 0 and not level.clean:
                raise ValueError(
                    f"{self} cannot reach alpha = 0: pure noise is at infinity in {self.coordinate}. "
                    "Use coordinate=Flow() or Angle(), or start the grid at a level with alpha > 0."
                )

    def step(
        self, denoise: Any, x: Tensor, now: NoiseLevel, next: NoiseLevel, state: State, noise: Any
    ) -> tuple[Tensor, State]:
        at, tableau = self.coordinate, self.tableau
        (m, u), (m_next, u_next) = at.of(now), at.of(next)
        if m_next == 0:  # clean data at infinity: the limit of Euler's step
            return denoise(x, now).mix(next.alpha, next.sigma), None
        if next.clean and tableau.closing:
            tableau = tableau.closing
        y, h = (x if m == 1.0 else x / m), u_next - u
        k = [at.field(denoise(x, now))]
        for row in tableau.rows:
            k.append(at.field(denoise(_combine(y, h, row, k), at.level(u + h * sum(row)))))
        y = _combine(y, h, tableau.weights, k)
        return (y if m_next == 1.0 else y * m_next), None


def _combine(y: Tensor, h: float, weights: Sequence[float], k: Sequence[Tensor]) -> Tensor:
    """y + h sum_j weights[j] k_j."""
    for weight, slope in zip(weights, k, strict=True):
        if weight:
            y = torch.add(y, slope, alpha=h * weight)
    return y


@dataclass(frozen=True)
class Euler(RungeKutta):
    """y' = y + h k_1. In the noise, data and flow coordinates this is DDIM; in the angle it is not.

    Source: Karras et al. 2022, table 1, https://arxiv.org/abs/2206.00364
    """

    tableau: ClassVar[Tableau] = EULER
    coordinate: Coordinate = Flow()


@dataclass(frozen=True)
class Heun(RungeKutta):
    """y' = y + h (k_1 + k_2) / 2, k_2 at the end of Euler's step; the step to clean data is Euler's.

    In the noise coordinate: algorithm 1 of EDM. The flow coordinate, the default, also starts at alpha = 0.

    Source: Karras et al. 2022, algorithm 1, https://arxiv.org/abs/2206.00364
    """

    tableau: ClassVar[Tableau] = HEUN
    coordinate: Coordinate = Flow()


@dataclass(frozen=True)
class Midpoint(RungeKutta):
    """y' = y + h k_2, k_2 half-way along Euler's step.

    Source: Karras et al. 2022, app. D.2 with alpha = 1/2, https://arxiv.org/abs/2206.00364
    """

    tableau: ClassVar[Tableau] = MIDPOINT
    coordinate: Coordinate = Flow()


@dataclass(frozen=True)
class RK4(RungeKutta):
    """The classical fourth-order method, four calls a step; the step to clean data is Heun's third-order method.

    Source: Hairer, Norsett and Wanner 1993, Solving Ordinary Differential Equations I, table II.1.2
    """

    tableau: ClassVar[Tableau] = CLASSICAL
    coordinate: Coordinate = Flow()


@dataclass(frozen=True)
class Heun3(RungeKutta):
    """Heun's third-order method, three calls a step and none at its end.

    Source: Hairer, Norsett and Wanner 1993, Solving Ordinary Differential Equations I, table II.1.1
    """

    tableau: ClassVar[Tableau] = HEUN3
    coordinate: Coordinate = Flow()
