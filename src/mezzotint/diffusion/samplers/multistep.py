"""Linear multistep samplers: one call a step, with weights on the predictions of the steps before."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from torch import Tensor

from ..coordinates import Coordinate, Data, Flow, Noise
from ..levels import NoiseLevel
from ..prediction import Prediction
from ..schedules import ContinuousCosine, Schedule
from .polynomials import exponential_moments, match, stieltjes_moments
from .sampler import Sampler, State, lam, plus, rho

Levels = tuple[NoiseLevel, ...]


class Multistep(Sampler):
    """x' = alpha' x0 + sqrt(sigma'^2 - v) eps + sum_j w_j (f_j - f_0) + sqrt(v) z, with f_1, f_2, ... of earlier steps.

    What a member says: which field f is remembered (`coordinate`: Noise for eps, Data for x0), how many predictions a
    step combines (`points`), the weights w and the variance v. The first steps have fewer predictions, and the step to
    clean data is first order wherever tau is infinite there.

    A restart forgets: the state is the levels of earlier predictions and their fields, newest first.
    """

    points: int
    coordinate: Coordinate

    @property
    def order(self) -> int | None:  # type: ignore[override]
        return self.points

    @property
    def order_from_noise(self) -> int | None:
        return self.order and min(self.order, 2)

    def variance(self, now: NoiseLevel, next: NoiseLevel) -> float:
        """v, the variance of the fresh noise in x'."""
        return 0.0

    def weights(self, now: NoiseLevel, next: NoiseLevel, others: Levels) -> tuple[float, ...]:
        """w_j for predictions at other levels, nearest first; as many as are of use."""
        raise NotImplementedError

    def step(
        self, denoise: Any, x: Tensor, now: NoiseLevel, next: NoiseLevel, state: State, noise: Any
    ) -> tuple[Tensor, State]:
        pred = denoise(x, now)
        levels, fields = state or ((), ())
        field, kept = self.coordinate.field(pred), self.points - 1
        x, std = advance(self, pred, now, next, levels, fields)
        if std:
            x = plus(x, noise(x, now, next), std)
        return x, ((now, *levels)[:kept], (field, *fields)[:kept])


def advance(
    rule: Any, pred: Prediction, now: NoiseLevel, next: NoiseLevel, levels: Levels, fields: tuple[Tensor, ...]
) -> tuple[Tensor, float]:
    """x' but for its noise, and the standard deviation of that; with the fields at other levels, nearest first."""
    on_x0, on_eps, weights, std = plan(rule, now, next, levels)
    x = pred.mix(on_x0, on_eps)
    for weight, field in zip(weights, fields, strict=False):
        x = plus(x, field, weight)
    return x, std


@lru_cache(maxsize=4096)
def plan(rule: Any, now: NoiseLevel, next: NoiseLevel, others: Levels) -> tuple[float, float, tuple[float, ...], float]:
    """The floats of a step: on x0, on eps, on each other field, on the noise."""
    p, q = rule.coordinate.direction(now)
    weights, variance = rule.weights(now, next, others), rule.variance(now, next)
    total = sum(weights)
    return next.alpha - p * total, (next.sigma**2 - variance) ** 0.5 - q * total, weights, variance**0.5


def log_snr_weights(
    coordinate: Coordinate, now: NoiseLevel, next: NoiseLevel, others: Levels, rate: float, rule: Any
) -> tuple[float, ...]:
    """Weights of polynomials in lambda = log(alpha / sigma), with the moments as `rule` leaves them.

    Data: mu_k = alpha' rate^{-k} times the exponential moments of rate h. Noise: mu_k = -sigma' (-1)^{k+1} times those
    of -h. Levels at infinity are of no use.
    """
    start = lam(now)
    h = lam(next) - start
    nodes = [s for s in (lam(level) - start for level in others) if abs(s) < math.inf]
    if not nodes or not abs(h) < math.inf:
        return ()
    n = len(nodes)
    if isinstance(coordinate, Noise):
        mu = [float(next.sigma) * (-1) ** k * m for k, m in enumerate(exponential_moments(-h, n))]
    else:
        mu = [float(next.alpha) * rate**-k * m for k, m in enumerate(exponential_moments(rate * h, n))]
    return match(nodes, rule(h, mu))


@dataclass(frozen=True)
class Exponential(Multistep):
    r"""Exponential Adams-Bashforth: f, x0 or eps, is the polynomial in lambda through the last `points` predictions.

    With D_1 = h f', D_2 = h^2 f'' of that polynomial at lambda, and r_i the earlier steps over h, for x0

    x' = (sigma'/sigma) x + alpha' (1 - e^-h) D_0
         + alpha' ((e^-h - 1)/h + 1) D_1 - alpha' ((e^-h - 1 + h)/h^2 - 1/2) D_2.

    This is DPM-Solver(++) multistep with the exact integrals; with points=3 its corrected third order: here
    D_2 = 2 (D_10 - D_11) / (r_0 + r_1) is the second derivative, and without that 2 (`DPMSolverPP`) the order is 2.
    eta > 0 adds noise: the weights are those of (1 + eta) h and v = sigma'^2 (1 - e^{-2 eta h}).

    Source: Hochbruck and Ostermann 2010, eq. 2.34, https://doi.org/10.1017/S0962492910000048; Lu et al. 2022, eq. 8,
    https://arxiv.org/abs/2211.01095; with noise Xue et al. 2023, eq. 14, https://arxiv.org/abs/2309.05019

    Args:
        points: predictions combined, 1 to 4.
        coordinate: Data (x0) or Noise (eps).
        eta: share of fresh noise, of x0 only; 0 is deterministic, 1 the reverse SDE.
    """

    points: int = 2
    coordinate: Coordinate = Data()
    eta: float = 0.0

    def __post_init__(self) -> None:
        check_points(self, 4)
        check_coordinate(self)
        check_eta(self)

    @property
    def order(self) -> int | None:  # type: ignore[override]
        return None if self.eta else self.points

    @property
    def weak_order(self) -> int | None:  # type: ignore[override]
        return min(self.points, 2) if self.eta else None

    def variance(self, now: NoiseLevel, next: NoiseLevel) -> float:
        return reverse_variance(now, next, self.eta)

    def weights(self, now: NoiseLevel, next: NoiseLevel, others: Levels) -> tuple[float, ...]:
        return log_snr_weights(self.coordinate, now, next, others, 1.0 + self.eta, lambda h, mu: mu[1:])


def reverse_variance(now: NoiseLevel, next: NoiseLevel, eta: float) -> float:
    """sigma'^2 (1 - e^{-2 eta h}): the noise of the reverse SDE whose noise is sqrt(eta) times the usual one's."""
    if not eta or next.clean:
        return 0.0
    if now.alpha == 0:
        return float(next.sigma) ** 2
    r = rho(next) / rho(now)
    if r > 1.0 + 1e-9:
        raise ValueError(f"{next} is noisier than {now}: a reverse step with eta={eta} cannot go there. Use eta=0.")
    return float(next.sigma) ** 2 * max(1.0 - r ** (2.0 * eta), 0.0)


def published(h: float, mu: list[float]) -> list[float]:
    """The moments that DPM-Solver's published multistep formulas integrate to: mu_1 = mu_0 h / 2 for two points, and
    for three the exact mu_1 beside half of mu_2."""
    return [0.5 * h * mu[0]] if len(mu) == 2 else [mu[1], 0.5 * mu[2]]


@dataclass(frozen=True)
class DPMSolverPP(Multistep):
    r"""DPM-Solver++ multistep as published, and its SDE form.

    With h = lambda' - lambda and r_0, r_1 the earlier steps over h, kappa = 1 + eta:

    1: x' = (sigma'/sigma) e^{-eta h} x + alpha' (1 - e^{-kappa h}) D_0, which is DDIM at eta = 0, DDPM at eta = 1
    2: D_0 + (D_0 - D_{-1}) / (2 r_0) in place of D_0
    3: D_0 + alpha' ((e^{-kappa h} - 1)/(kappa h) + 1) D_1 - alpha' ((e^{-kappa h} - 1 + kappa h)/(kappa h)^2 - 1/2) D_2
       with D_1 = D_10 + r_0/(r_0 + r_1) (D_10 - D_11) and D_2 = (D_10 - D_11) / (r_0 + r_1)
    and the noise sigma' sqrt(1 - e^{-2 eta h}) z.

    D_2 lacks a factor 2 against the second derivative, so three points are of order 2, though often the better ones
    at ten steps; `Exponential(3)` has the factor and the order 3.

    Source: Lu et al. 2022, algorithm 2 and app. A, https://arxiv.org/abs/2211.01095

    Args:
        points: predictions combined, 1 to 3.
        eta: share of fresh noise; 0 is the ODE, 1 the SDE (2M SDE, 3M SDE).
    """

    points: int = 2
    eta: float = 0.0
    coordinate: ClassVar[Coordinate] = Data()  # type: ignore[misc]

    def __post_init__(self) -> None:
        check_points(self, 3)
        check_eta(self)

    @property
    def order(self) -> int | None:  # type: ignore[override]
        return None if self.eta else min(self.points, 2)

    @property
    def weak_order(self) -> int | None:  # type: ignore[override]
        return min(self.points, 2) if self.eta else None

    def variance(self, now: NoiseLevel, next: NoiseLevel) -> float:
        return reverse_variance(now, next, self.eta)

    def weights(self, now: NoiseLevel, next: NoiseLevel, others: Levels) -> tuple[float, ...]:
        return log_snr_weights(self.coordinate, now, next, others, 1.0 + self.eta, published)


@dataclass(frozen=True)
class DPMSolver(Multistep):
    r"""DPM-Solver multistep of eps, as published.

    x' = (alpha'/alpha) x - sigma' (e^h - 1) (D_0 + (D_0 - D_{-1}) / (2 r_0)), and with three points instead of the
    last term - sigma' ((e^h - 1)/h - 1) D_1 - sigma' ((e^h - 1 - h)/h^2 - 1/2) D_2 with D_1, D_2 as in
    `DPMSolverPP`, and of order 2 for the same reason; `Exponential(3, Noise())` has order 3.

    Source: Lu et al. 2022, https://arxiv.org/abs/2206.00927 (multistep form in the authors' code)

    Args:
        points: predictions combined, 1 to 3.
    """

    points: int = 2
    coordinate: ClassVar[Coordinate] = Noise()  # type: ignore[misc]

    def __post_init__(self) -> None:
        check_points(self, 3)

    @property
    def order(self) -> int | None:  # type: ignore[override]
        return min(self.points, 2)

    def weights(self, now: NoiseLevel, next: NoiseLevel, others: Levels) -> tuple[float, ...]:
        return log_snr_weights(self.coordinate, now, next, others, 1.0, published)


@dataclass(frozen=True)
class LMS(Multistep):
    """Adams-Bashforth in a coordinate, on the steps as they lie: y' = y + sum_j f_j times the integral of L_j(u) du.

    L_j are Lagrange's polynomials in u. In the noise coordinate, where f is eps and u = sigma / alpha, it is
    k-diffusion's LMS and rho AB-DEIS; the flow coordinate reaches pure noise as well. Clean data are regular in both,
    so the last step keeps its order.

    Source: Zhang and Chen 2023, eq. 15, https://arxiv.org/abs/2204.13902

    Args:
        points: predictions combined, 1 to 4.
        coordinate: Noise or Flow.
    """

    points: int = 4
    coordinate: Coordinate = Noise()

    def __post_init__(self) -> None:
        check_points(self, 4)
        if not isinstance(self.coordinate, Noise | Flow):
            raise ValueError(f"coordinate={self.coordinate}: LMS is for Noise() or Flow().")

    def weights(self, now: NoiseLevel, next: NoiseLevel, others: Levels) -> tuple[float, ...]:
        of = self.coordinate.of
        (m, u), (_, start) = of(next), of(now)
        nodes = [at - start for at in (of(level)[1] for level in others) if at < math.inf]
        return match(nodes, [m * (u - start) ** (k + 1) / (k + 1) for k in range(1, len(nodes) + 1)])


@dataclass(frozen=True)
class DEIS(Multistep):
    """t AB-DEIS: Adams-Bashforth in rho = sigma / alpha, with eps a polynomial in the time t of a schedule.

    x'/alpha' = x/alpha + sum_j eps_j times the integral of L_j(t) d rho, by Gauss's rule in float64. In rho itself it
    is `LMS`, in log rho `Exponential(coordinate=Noise())`.

    Source: Zhang and Chen 2023, eq. 15, https://arxiv.org/abs/2204.13902

    Args:
        points: predictions combined, 1 to 4.
        schedule: whose t; the paper takes that of the process. The default's is the angle atan(rho), which reaches
            from clean data to pure noise.
    """

    points: int = 3
    schedule: Schedule = ContinuousCosine()
    coordinate: ClassVar[Coordinate] = Noise()  # type: ignore[misc]

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
    """DDIM's step with e = (55 e_0 - 59 e_1 + 37 e_2 - 9 e_3) / 24 in place of eps, as if the steps were equal.

    The first steps use (23 e_0 - 16 e_1 + 5 e_2) / 12, (3 e_0 - e_1) / 2 and e_0. Second order, since the weights ask
    for equal steps in rho and the grids have none. PNDM and PLMS: `Started` by a Runge-Kutta method.

    Source: Zhang and Chen 2023, app. H.1, https://arxiv.org/abs/2204.13902; Liu et al. 2022, eqs. 9 and 12,
    https://arxiv.org/abs/2202.09778

    Args:
        points: predictions combined, 1 to 4.
    """

    points: int = 4
    coordinate: ClassVar[Coordinate] = Noise()  # type: ignore[misc]

    def __post_init__(self) -> None:
        check_points(self, 4)

    @property
    def order(self) -> int | None:  # type: ignore[override]
        return min(self.points, 2)

    def weights(self, now: NoiseLevel, next: NoiseLevel, others: Levels) -> tuple[float, ...]:
        on_eps = float(next.sigma) - float(next.alpha) * rho(now) if others else 0.0
        return tuple(on_eps * b for b in ADAMS_BASHFORTH[len(others)])


def check_points(sampler: Any, most: int) -> None:
    if not 1 <= sampler.points <= most:
        raise ValueError(f"points={sampler.points}: {type(sampler).__name__} combines 1 to {most} predictions.")


def check_coordinate(sampler: Any) -> None:
    if not isinstance(sampler.coordinate, Data | Noise):
        raise ValueError(f"coordinate={sampler.coordinate}: {type(sampler).__name__} is for Data() or Noise().")


def check_eta(sampler: Any) -> None:
    if sampler.eta < 0 or (sampler.eta and not isinstance(sampler.coordinate, Data)):
        raise ValueError(f"{sampler}: eta must be 0, or positive with the data coordinate, where noise enters exactly.")
