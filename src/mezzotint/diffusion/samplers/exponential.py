"""Multistep samplers in log-SNR: exponential integrators, DPM-Solver and DPM-Solver++."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..coordinates import Coordinate, DataCoordinate, NoiseCoordinate
from ..levels import NoiseLevel
from ..prediction import Prediction
from .base import lam, rho
from .multistep import Levels, Multistep, check_points
from .polynomials import exponential_moments, match

MomentRule = Callable[[float, list[float]], list[float]]  # (h, [mu_0, mu_1, ...]) -> [mu_1, ...]


def log_snr_weights(
    coordinate: Coordinate, now: NoiseLevel, next: NoiseLevel, others: Levels, rate: float, rule: MomentRule
) -> tuple[float, ...]:
    """Return the weights of polynomials in lambda = log(alpha / sigma), for the moments that `rule` selects.

    DataCoordinate: mu_k = alpha' rate^{-k} times the exponential moments of rate h. NoiseCoordinate: mu_k = -sigma'
    (-1)^{k+1} times those of -h. Levels with infinite lambda are skipped.
    """
    start = lam(now)
    h = lam(next) - start
    nodes = [s for s in (lam(level) - start for level in others) if abs(s) < math.inf]
    if not nodes or not abs(h) < math.inf:
        return ()
    n = len(nodes)
    if coordinate == NoiseCoordinate():
        mu = [float(next.sigma) * (-1) ** k * m for k, m in enumerate(exponential_moments(-h, n))]
    else:
        mu = [float(next.alpha) * rate**-k * m for k, m in enumerate(exponential_moments(rate * h, n))]
    return match(nodes, rule(h, mu))


@dataclass(frozen=True)
class ExponentialAdamsBashforth(Multistep):
    r"""Exponential Adams-Bashforth: f (x0 or eps) is the polynomial in lambda through the last `points` predictions.

    With D_1 = h f', D_2 = h^2 f'' of that polynomial at lambda, and r_i the earlier steps over h, for x0

    x' = (sigma'/sigma) x + alpha' (1 - e^-h) D_0
         + alpha' ((e^-h - 1)/h + 1) D_1 - alpha' ((e^-h - 1 + h)/h^2 - 1/2) D_2.

    This is DPM-Solver(++) multistep with the exact integrals; with points=3 its corrected third order: here
    D_2 = 2 (D_10 - D_11) / (r_0 + r_1) is the second derivative; without the factor 2 (`DPMSolverPP`) the order is 2.
    eta > 0 adds noise: the weights are those of (1 + eta) h and v = sigma'^2 (1 - e^{-2 eta h}).

    Source: Hochbruck and Ostermann 2010, eq. 2.34, https://doi.org/10.1017/S0962492910000048; Lu et al. 2022, eq. 8,
    https://arxiv.org/abs/2211.01095; with noise Xue et al. 2023, eq. 14, https://arxiv.org/abs/2309.05019

    Args:
        points: number of predictions combined, 1 to 4.
        coordinate: DataCoordinate (x0) or NoiseCoordinate (eps).
        eta: scale of the fresh noise, DataCoordinate only; 0 is deterministic, 1 the reverse SDE.
    """

    points: int = 2
    coordinate: Coordinate = DataCoordinate()
    eta: float = 0.0

    def __post_init__(self) -> None:
        check_points(self, 4)
        check_coordinate(type(self).__name__, self.coordinate)
        check_eta(self.eta, self.coordinate)

    @property
    def order(self) -> int | None:
        return None if self.eta else self.points

    @property
    def weak_order(self) -> int | None:
        return min(self.points, 2) if self.eta else None

    @property
    def cfg_pp(self) -> bool:
        return self.points <= 2 and not self.eta and self.coordinate == DataCoordinate()

    def base_prediction(self, pred: Prediction, next: NoiseLevel, levels: Levels) -> Prediction:
        """Return the unguided prediction at the new state for a second-order step under CFG++."""
        return pred.restated if levels and levels[0].alpha and not next.clean else pred

    def variance(self, now: NoiseLevel, next: NoiseLevel) -> float:
        return reverse_variance(now, next, self.eta)

    def weights(self, now: NoiseLevel, next: NoiseLevel, others: Levels) -> tuple[float, ...]:
        return log_snr_weights(self.coordinate, now, next, others, 1.0 + self.eta, lambda h, mu: mu[1:])


def reverse_variance(now: NoiseLevel, next: NoiseLevel, eta: float) -> float:
    """Return sigma'^2 (1 - e^{-2 eta h}), the variance of the reverse SDE with its noise scaled by sqrt(eta)."""
    if not eta or next.clean:
        return 0.0
    if now.alpha == 0:
        return float(next.sigma) ** 2
    r = rho(next) / rho(now)
    if r > 1.0 + 1e-9:
        raise ValueError(f"{next} is noisier than {now}: a reverse step with eta={eta} only reduces noise. Use eta=0.")
    return float(next.sigma) ** 2 * max(1.0 - r ** (2.0 * eta), 0.0)


def published_moments(h: float, mu: list[float]) -> list[float]:
    """Return the moments of DPM-Solver's published multistep formulas.

    For two points mu_1 = mu_0 h / 2; for three the exact mu_1 and half of mu_2.
    """
    return [0.5 * h * mu[0]] if len(mu) == 2 else [mu[1], 0.5 * mu[2]]


def exact_line_moments(h: float, mu: list[float]) -> list[float]:
    """Return `published_moments`, but with the exact mu_1 for two points too."""
    return [mu[1]] if len(mu) == 2 else published_moments(h, mu)


@dataclass(frozen=True)
class DPMSolverPP(Multistep):
    r"""DPM-Solver++ multistep, as published, and its SDE form.

    With h = lambda' - lambda and r_0, r_1 the earlier steps over h, kappa = 1 + eta:

    1: x' = (sigma'/sigma) e^{-eta h} x + alpha' (1 - e^{-kappa h}) D_0, which is DDIM at eta = 0, DDPM at eta = 1
    2: D_0 + (D_0 - D_{-1}) / (2 r_0) in place of D_0
       (line="midpoint"), or the exact integral of the line through both, as in
       `ExponentialAdamsBashforth` (line="exact")
    3: D_0 + alpha' ((e^{-kappa h} - 1)/(kappa h) + 1) D_1 - alpha' ((e^{-kappa h} - 1 + kappa h)/(kappa h)^2 - 1/2) D_2
       with D_1 = D_10 + r_0/(r_0 + r_1) (D_10 - D_11) and D_2 = (D_10 - D_11) / (r_0 + r_1)
    and the noise sigma' sqrt(1 - e^{-2 eta h}) z.

    D_2 is half the second derivative, so three points have order 2, though they are often more accurate at ten steps;
    `ExponentialAdamsBashforth(3)` has the factor 2 and order 3.

    Source: Lu et al. 2022, algorithm 2 and app. A, https://arxiv.org/abs/2211.01095; line="exact" as in k-diffusion's
    3M SDE, and "heun" in its 2M SDE and in diffusers

    Args:
        points: number of predictions combined, 1 to 3.
        eta: scale of the fresh noise; 0 is the ODE, 1 the SDE (2M SDE, 3M SDE).
        line: rule for combining two predictions, also in the second step of three points.
    """

    points: int = 2
    eta: float = 0.0
    line: Literal["midpoint", "exact"] = "midpoint"
    coordinate = DataCoordinate()

    def __post_init__(self) -> None:
        check_points(self, 3)
        check_eta(self.eta, self.coordinate)
        if self.line not in ("midpoint", "exact"):
            raise ValueError(f"line={self.line!r} is not a known rule. Use 'midpoint' or 'exact'.")

    @property
    def order(self) -> int | None:
        return None if self.eta else min(self.points, 2)

    @property
    def weak_order(self) -> int | None:
        return min(self.points, 2) if self.eta else None

    @property
    def cfg_pp(self) -> bool:
        return self.points <= 2 and not self.eta and self.line == "midpoint"

    def variance(self, now: NoiseLevel, next: NoiseLevel) -> float:
        return reverse_variance(now, next, self.eta)

    def weights(self, now: NoiseLevel, next: NoiseLevel, others: Levels) -> tuple[float, ...]:
        rule = published_moments if self.line == "midpoint" else exact_line_moments
        return log_snr_weights(self.coordinate, now, next, others, 1.0 + self.eta, rule)


@dataclass(frozen=True)
class DPMSolver(Multistep):
    r"""DPM-Solver multistep, a polynomial of eps, as published.

    x' = (alpha'/alpha) x - sigma' (e^h - 1) (D_0 + (D_0 - D_{-1}) / (2 r_0)), and with three points instead of the
    last term - sigma' ((e^h - 1)/h - 1) D_1 - sigma' ((e^h - 1 - h)/h^2 - 1/2) D_2 with D_1, D_2 as in
    `DPMSolverPP`, of order 2 for the same reason; `ExponentialAdamsBashforth(3, NoiseCoordinate())` has order 3.

    Source: Lu et al. 2022, https://arxiv.org/abs/2206.00927 (multistep form in the authors' code)

    Args:
        points: number of predictions combined, 1 to 3.
    """

    points: int = 2
    coordinate = NoiseCoordinate()

    def __post_init__(self) -> None:
        check_points(self, 3)

    @property
    def order(self) -> int | None:
        return min(self.points, 2)

    def weights(self, now: NoiseLevel, next: NoiseLevel, others: Levels) -> tuple[float, ...]:
        return log_snr_weights(self.coordinate, now, next, others, 1.0, published_moments)


def check_coordinate(name: str, coordinate: Coordinate) -> None:
    """Raise ValueError unless the coordinate is one of the two with a field that is x0 or eps."""
    if coordinate not in (DataCoordinate(), NoiseCoordinate()):
        raise ValueError(
            f"coordinate={coordinate}: {name} supports DataCoordinate() and NoiseCoordinate(). Use one of them."
        )


def check_eta(eta: float, coordinate: Coordinate) -> None:
    """Raise ValueError for a negative eta, or noise in a coordinate where it is not exact."""
    if eta < 0 or (eta and coordinate != DataCoordinate()):
        raise ValueError(
            f"eta={eta:g} with {coordinate}: eta must be 0, or positive with DataCoordinate(), where noise is exact."
        )
