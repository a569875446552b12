"""Adams-Bashforth multistep samplers: LMS, DEIS, IPNDM and gradient estimation."""

import math
from dataclasses import dataclass

from ..coordinates import Coordinate, FlowCoordinate, NoiseCoordinate
from ..levels import NoiseLevel
from ..schedules.continuous import ContinuousCosineSchedule, Schedule
from .base import rho
from .multistep import Levels, Multistep, check_points
from .polynomials import match, stieltjes_moments


@dataclass(frozen=True)
class LMS(Multistep):
    """Variable-step Adams-Bashforth in a coordinate: y' = y + sum_j f_j times the integral of L_j(u) du.

    L_j are the Lagrange polynomials in u. In the noise coordinate, where f is eps and u = sigma / alpha, this is
    k-diffusion's LMS and rho AB-DEIS; the flow coordinate also covers pure noise. Both are regular at clean data, so
    the last step keeps its order.

    Source: Zhang and Chen 2023, eq. 15, https://arxiv.org/abs/2204.13902

    Args:
        points: number of predictions combined, 1 to 4.
        coordinate: NoiseCoordinate or FlowCoordinate.
    """

    points: int = 4
    coordinate: Coordinate = NoiseCoordinate()

    def __post_init__(self) -> None:
        check_points(self, 4)
        if self.coordinate not in (NoiseCoordinate(), FlowCoordinate()):
            raise ValueError(
                f"coordinate={self.coordinate}: LMS supports NoiseCoordinate() and FlowCoordinate(). Use one of them."
            )

    def weights(self, now: NoiseLevel, next: NoiseLevel, others: Levels) -> tuple[float, ...]:
        of = self.coordinate.of
        (m, u), (_, start) = of(next), of(now)
        nodes = [at - start for at in (of(level)[1] for level in others) if at < math.inf]
        return match(nodes, [m * (u - start) ** (k + 1) / (k + 1) for k in range(1, len(nodes) + 1)])


@dataclass(frozen=True)
class DEIS(Multistep):
    """t AB-DEIS: Adams-Bashforth in rho = sigma / alpha, with eps a polynomial in the time t of a schedule.

    x'/alpha' = x/alpha + sum_j eps_j times the integral of L_j(t) d rho, by Gaussian quadrature in float64. In rho
    itself it is `LMS`, in log rho `ExponentialAdamsBashforth(coordinate=NoiseCoordinate())`.

    Source: Zhang and Chen 2023, eq. 15, https://arxiv.org/abs/2204.13902

    Args:
        points: number of predictions combined, 1 to 4.
        schedule: defines t; the paper uses the schedule of the process. The default's t is the angle atan(rho), which
            is finite from clean data to pure noise.
    """

    points: int = 3
    schedule: Schedule = ContinuousCosineSchedule()
    coordinate = NoiseCoordinate()

    def __post_init__(self) -> None:
        check_points(self, 4)

    def weights(self, now: NoiseLevel, next: NoiseLevel, others: Levels) -> tuple[float, ...]:
        def time(level: NoiseLevel) -> float:
            return 0.0 if level.clean else float(self.schedule.time(level))

        start, stop = time(now), time(next)
        nodes = [s for s in (time(level) - start for level in others) if s]
        moments = stieltjes_moments(lambda t: float(self.schedule.level(t).ratio), start, stop, len(nodes))
        return match(nodes, [float(next.alpha) * mu for mu in moments])


ADAMS_BASHFORTH = ((), (-1 / 2,), (-16 / 12, 5 / 12), (-59 / 24, 37 / 24, -9 / 24))


@dataclass(frozen=True)
class IPNDM(Multistep):
    """DDIM's step with e = (55 e_0 - 59 e_1 + 37 e_2 - 9 e_3) / 24 in place of eps: weights for equal steps.

    The first steps use (23 e_0 - 16 e_1 + 5 e_2) / 12, (3 e_0 - e_1) / 2 and e_0. Second order, because the weights
    assume equal steps in rho, which no grid has. For PNDM and PLMS, wrap it in `WarmStarted` with a Runge-Kutta method.

    Source: Zhang and Chen 2023, app. H.1, https://arxiv.org/abs/2204.13902; Liu et al. 2022, eqs. 9 and 12,
    https://arxiv.org/abs/2202.09778

    Args:
        points: number of predictions combined, 1 to 4.
    """

    points: int = 4
    coordinate = NoiseCoordinate()

    def __post_init__(self) -> None:
        check_points(self, 4)

    @property
    def order(self) -> int | None:
        return min(self.points, 2)

    def weights(self, now: NoiseLevel, next: NoiseLevel, others: Levels) -> tuple[float, ...]:
        on_eps = float(next.sigma) - float(next.alpha) * rho(now) if others else 0.0
        return tuple(on_eps * b for b in ADAMS_BASHFORTH[len(others)])


@dataclass(frozen=True)
class GradientEstimation(Multistep):
    """DDIM's step with e = gamma e_0 - (gamma - 1) e_1 in place of eps; the step to clean data is DDIM's.

    First order, because the weight is independent of the step sizes; gamma = 3/2 is `IPNDM` with two points.

    Source: Permenter and Yuan 2024, eq. 15, https://arxiv.org/abs/2306.04848

    Args:
        gamma: 1 is DDIM; the paper uses 2.
    """

    gamma: float = 2.0
    points = 2
    coordinate = NoiseCoordinate()

    @property
    def order(self) -> int | None:
        return 1

    @property
    def cfg_pp(self) -> bool:
        return True

    def weights(self, now: NoiseLevel, next: NoiseLevel, others: Levels) -> tuple[float, ...]:
        if next.clean or not others:
            return ()
        return ((1.0 - self.gamma) * (float(next.sigma) - float(next.alpha) * rho(now)),)
