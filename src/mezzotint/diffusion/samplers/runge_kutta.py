"""Runge-Kutta methods for the probability-flow ODE: a coordinate and a Butcher tableau."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from mezzotint.finite import Finite

from ..coordinates import Coordinate, FlowCoordinate, NoiseCoordinate
from ..denoiser import Predict
from ..levels import NoiseLevel
from ..noise_sources import NoiseSource
from .base import Sampler, State


@dataclass(frozen=True)
class Tableau(metaclass=Finite):
    """A Butcher tableau: stage i + 1 is y + h sum_j rows[i][j] k_j, the step y + h sum_j weights[j] k_j.

    Args:
        closing: the tableau for the step to clean data, without a node at 1, since no network can be called there; one
            order less is enough because it is used once. None where the tableau itself has no node at 1.
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
    """y = x / m steps from u to u' by a tableau: y' = y + h sum_j w_j k_j, h = u' - u, k_j = dy/du at stage j.

    Stages lie between the two levels, in general between the entries of a table, and are evaluated in the frame with
    m = 1. A step that is infinite in the coordinate is an Euler step. So is a step whose error on Gaussian data exceeds
    a quarter of their standard deviation and the error of the Euler step: for example, in sigma / alpha, a cosine
    table's first step, from 20,000 to 12.
    """

    tableau: ClassVar[Tableau]
    coordinate: Coordinate

    def __post_init__(self) -> None:
        if not isinstance(self.coordinate, Coordinate):  # Flow is also a target
            raise ValueError(
                f"coordinate={self.coordinate!r} is not a Coordinate. Use one of mezzotint.diffusion.coordinates."
            )

    @property
    def order(self) -> int | None:
        return self.tableau.order

    @property
    def calls(self) -> int | None:
        return len(self.tableau.weights)

    @property
    def order_from_noise(self) -> int | None:
        return self.order and (min(self.order, 2) if self.coordinate == NoiseCoordinate() else self.order)

    def step(
        self, denoise: Predict, x: Tensor, now: NoiseLevel, next: NoiseLevel, state: State, noise: NoiseSource
    ) -> tuple[Tensor, State]:
        at = self.coordinate
        (m, u), (m_next, u_next) = at.of(now), at.of(next)
        if m == 0 or m_next == 0:  # an end at infinity: the limit of the Euler step
            return denoise(x, now).mix(next.alpha, next.sigma), None
        tableau = tableau_for(self.tableau, at, now, next)
        y, h = (x if m == 1.0 else x / m), u_next - u
        k = [at.field(denoise(x, now))]
        for row in tableau.rows:
            k.append(at.field(denoise(_combine(y, h, row, k), at.level(u + h * sum(row)))))
        y = _combine(y, h, tableau.weights, k)
        return (y if m_next == 1.0 else y * m_next), None


@lru_cache(maxsize=4096)
def tableau_for(tableau: Tableau, at: Coordinate, now: NoiseLevel, next: NoiseLevel) -> Tableau:
    """Return the tableau for this step: the closing one to clean data, Euler's where a long step would diverge."""
    if next.clean and tableau.closing:
        tableau = tableau.closing
    if at.bounded:
        return tableau
    errors = [
        (gaussian_error(tableau, at, now, next, std), gaussian_error(EULER, at, now, next, std))
        for std in (0.25, 0.5, 1.0)
    ]
    diverges = any(own > 0.25 for own, _ in errors) and all(own > euler for own, euler in errors)
    return EULER if diverges else tableau


def gaussian_error(tableau: Tableau, at: Coordinate, now: NoiseLevel, next: NoiseLevel, std: float) -> float:
    """Return the relative error of a step in the standard deviation of x, for data N(0, std^2), whose ODE is linear."""

    def std_of_x(level: NoiseLevel) -> float:
        return math.hypot(level.alpha * std, level.sigma)

    def slope(y: float, u: float) -> float:
        level = at.level(u)
        p, q = at.direction(level)
        return float(p * level.alpha * std**2 + q * level.sigma) * y / std_of_x(level) ** 2

    u = at.of(now)[1]
    h, k = at.of(next)[1] - u, [slope(1.0, u)]
    for row in tableau.rows:
        y = 1.0 + h * sum(weight * value for weight, value in zip(row, k, strict=True))
        k.append(slope(y, u + h * sum(row)))
    reached = 1.0 + h * sum(weight * value for weight, value in zip(tableau.weights, k, strict=True))
    return abs(reached * std_of_x(at.level(u)) / std_of_x(at.level(u + h)) - 1.0)


def _combine(y: Tensor, h: float, weights: Sequence[float], k: Sequence[Tensor]) -> Tensor:
    """Return y + h sum_j weights[j] k_j."""
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
    coordinate: Coordinate = FlowCoordinate()


@dataclass(frozen=True)
class Heun(RungeKutta):
    """y' = y + h (k_1 + k_2) / 2, k_2 at the end of the Euler step; the step to clean data is an Euler step.

    In the noise coordinate: algorithm 1 of EDM. The flow coordinate, the default, is regular at both ends.

    Source: Karras et al. 2022, algorithm 1, https://arxiv.org/abs/2206.00364
    """

    tableau: ClassVar[Tableau] = HEUN
    coordinate: Coordinate = FlowCoordinate()


@dataclass(frozen=True)
class Midpoint(RungeKutta):
    """y' = y + h k_2, k_2 at the midpoint of the Euler step.

    Source: Karras et al. 2022, app. D.2 with alpha = 1/2, https://arxiv.org/abs/2206.00364
    """

    tableau: ClassVar[Tableau] = MIDPOINT
    coordinate: Coordinate = FlowCoordinate()


@dataclass(frozen=True)
class RK4(RungeKutta):
    """The classical fourth-order method, four calls per step; the step to clean data is Heun's third-order method.

    Source: Hairer, Norsett and Wanner 1993, Solving Ordinary Differential Equations I, table II.1.2
    """

    tableau: ClassVar[Tableau] = CLASSICAL
    coordinate: Coordinate = FlowCoordinate()


@dataclass(frozen=True)
class Heun3(RungeKutta):
    """Heun's third-order method, three calls per step and no node at 1.

    Source: Hairer, Norsett and Wanner 1993, Solving Ordinary Differential Equations I, table II.1.1
    """

    tableau: ClassVar[Tableau] = HEUN3
    coordinate: Coordinate = FlowCoordinate()
