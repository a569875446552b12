"""Multistep predictor-corrector samplers: each step is corrected with the prediction at its end, at no extra call."""

import abc
import math
from dataclasses import dataclass, field, replace

from torch import Tensor

from ..coordinates import DataCoordinate
from ..denoiser import Predict
from ..grids.spacings import Grid
from ..levels import NoiseLevel
from ..noise_sources import NoiseSource
from ..prediction import Prediction
from .base import Sampler, State, add_scaled_, rho
from .exponential import log_snr_weights, reverse_variance
from .multistep import Levels, apply_weights, check_points
from .runge_kutta import RungeKutta
from .warm_start import run_up, starter


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """The solver state: what a step needs to know of the steps before it.

    Args:
        final: levels at the end of the grid that are reached by steps of lower order, in order.
        start: the method of the first step, until it has been taken (see `starter`).
        previous: the prediction at the start of the last step; None before the first step and after a restart.
        levels, fields: levels and fields of earlier predictions, nearest first.
        noise: the noise of the last step.
    """

    final: Levels = ()
    start: RungeKutta | None = None
    previous: Prediction | None = None
    levels: Levels = ()
    fields: tuple[Tensor, ...] = ()
    noise: Tensor | None = None

    def points(self, most: int, end: NoiseLevel) -> int:
        """Return the number of predictions of the step to `end`: 1 for the last step, 2 before, ..., at most `most`."""
        return min(most, len(self.final) - self.final.index(end)) if end in self.final else most


class PredictorCorrector(Sampler):
    """Predict x' from earlier predictions; once the prediction at x' is known, repeat the step with it included.

    The corrected x is combined with the prediction made at the predicted x, so a step takes one call. The step to clean
    data is not corrected, since no network can be called there. Both passes of a step use the same noise.
    """

    coordinate = DataCoordinate()

    @property
    @abc.abstractmethod
    def predictor_points(self) -> int:
        """The number of predictions that the predictor combines."""

    @property
    @abc.abstractmethod
    def corrector_points(self) -> int:
        """The number of predictions that the corrector combines, including the new one; 0 for no corrector."""

    @property
    def order_from_noise(self) -> int | None:
        return self.order and min(self.order, 2)

    @property
    def turns(self) -> bool:
        return False

    @property
    def one_step(self) -> bool:
        return False

    @property
    def repeats_steps(self) -> bool:
        return self.corrector_points > 0

    def init(self, grid: Grid) -> State:
        return History(self.lower_order_levels(grid), starter(self.order, 2 if self.corrector_points else 1, grid))

    def lower_order_levels(self, grid: Grid) -> Levels:
        """Return the last levels of the grid, those that are reached by steps of lower order."""
        return ()

    def variance(self, now: NoiseLevel, next: NoiseLevel) -> float:
        """v, the variance of the fresh noise in x'."""
        return 0.0

    @abc.abstractmethod
    def weights(self, now: NoiseLevel, next: NoiseLevel, others: Levels) -> tuple[float, ...]:
        """Return w_j for predictions at other levels, nearest first."""

    def step(
        self, denoise: Predict, x: Tensor, now: NoiseLevel, next: NoiseLevel, state: State, noise: NoiseSource
    ) -> tuple[Tensor, State]:
        past = History() if state is None else state
        if past.start is not None and not next.clean:
            end, ((_, first), *_, (level, last)) = run_up(past.start, denoise, x, now, next)
            first, last = self.coordinate.field(first), self.coordinate.field(last)
            previous = Prediction(x, now, first, *self.coordinate.direction(now))
            return end, replace(past, start=None, previous=previous, levels=(level,), fields=(last,))
        newest = self.coordinate.field(denoise(x, now))
        levels, fields, before = past.levels, past.fields, past.previous
        if before is not None:
            if self.corrector_points:
                k = past.points(self.corrector_points - 1, now)
                x, std = apply_weights(self, before, before.level, now, (now, *levels)[:k], (newest, *fields)[:k])
                x = x if past.noise is None else add_scaled_(x, past.noise, std)
            levels, fields = (before.level, *levels), (before.value, *fields)
        pred = Prediction(x, now, newest, *self.coordinate.direction(now))
        k = past.points(self.predictor_points, next) - 1
        x, std = apply_weights(self, pred, now, next, levels[:k], fields[:k])
        z = noise(x, now, next) if std else None
        kept = max(self.predictor_points, self.corrector_points) - 2
        x = x if z is None else add_scaled_(x, z, std)
        return x, History(past.final, None, pred, levels[:kept], fields[:kept], z)


@dataclass(frozen=True)
class BH1:
    """B(h) = h."""

    def __call__(self, h: float) -> float:
        return h


@dataclass(frozen=True)
class BH2:
    """B(h) = 1 - e^-h, that is e^{h'} - 1 at the paper's h' = -h for x0."""

    def __call__(self, h: float) -> float:
        return -math.expm1(-h)


@dataclass(frozen=True)
class UniPC(PredictorCorrector):
    r"""UniPC-p in x0: x' = (sigma'/sigma) x + alpha' (1 - e^-h) D_0 + alpha' B(h) sum_m (a_m / r_m) (D_m - D_0).

    The a_m solve R a = b, which makes the integrals of the polynomials in lambda exact for any B(h); with one other
    prediction the paper takes a = 1/2 instead, and only there B(h) matters. The corrector combines p + 1 predictions,
    including the new one, and so has one order more.

    Source: Zhao et al. 2023, algorithms 5 to 8, https://arxiv.org/abs/2302.04867

    Args:
        points: p, 1 to 3; the order is p + 1.
        b: BH1() or BH2().
        lower_order_final: the last step has one point, the one before two, as in the authors' code: order 2.
    """

    points: int = 2
    b: BH1 | BH2 = BH2()
    lower_order_final: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        check_points(self, 3)

    @property
    def order(self) -> int | None:
        return 2 if self.lower_order_final else self.points + 1

    def lower_order_levels(self, grid: Grid) -> Levels:
        return grid[-self.points :] if self.lower_order_final else ()

    @property
    def predictor_points(self) -> int:
        return self.points

    @property
    def corrector_points(self) -> int:
        return self.points + 1

    def weights(self, now: NoiseLevel, next: NoiseLevel, others: Levels) -> tuple[float, ...]:
        return log_snr_weights(self.coordinate, now, next, others, 1.0, self._moments)

    def _moments(self, h: float, mu: list[float]) -> list[float]:
        """Return the moments of the rule, given mu_0 = alpha' (1 - e^-h)."""
        return [0.5 * h * self.b(h) * mu[0] / -math.expm1(-h)] if len(mu) == 2 else mu[1:]


@dataclass(frozen=True)
class SASolver(PredictorCorrector):
    r"""SA-Solver: a stochastic Adams predictor-corrector.

    x' = (sigma'/sigma) e^{-eta h} x + sum_j b_j D_j + sigma' sqrt(1 - e^{-2 eta h}) z with
    b_j = alpha' (1 + eta) times the integral of e^{-(1 + eta)(lambda' - l)} L_j(l) from lambda to lambda'; eta is the
    paper's tau^2, restricted to a band of noise levels.

    Source: Xue et al. 2023, algorithm 1, https://arxiv.org/abs/2309.05019

    Args:
        predictor: number of predictions that the predictor combines, 1 to 4.
        corrector: number of predictions that the corrector combines, including the new one, 2 to 4; 0 for none.
        eta: tau^2, scale of the fresh noise; 0 is the ODE, 1 the reverse SDE.
        low, high: noise is added where low < sigma / alpha <= high.
    """

    natural = ("low", "high")

    predictor: int = 2
    corrector: int = 2
    eta: float = 1.0
    low: float = 0.0
    high: float = math.inf

    def __post_init__(self) -> None:
        if not 1 <= self.predictor <= 4 or self.corrector not in (0, 2, 3, 4) or self.eta < 0:
            raise ValueError(f"{self}: predictor must be 1 to 4, corrector 0 or 2 to 4, eta not negative.")

    @property
    def predictor_points(self) -> int:
        return self.predictor

    @property
    def corrector_points(self) -> int:
        return self.corrector

    @property
    def order(self) -> int | None:
        if self.eta:
            return None
        return min(self.predictor + 1, self.corrector) if self.corrector else self.predictor

    @property
    def weak_order(self) -> int | None:
        return min(self.predictor, 2) if self.eta else None

    def _eta(self, now: NoiseLevel) -> float:
        return self.eta if self.low < rho(now) <= self.high else 0.0

    def variance(self, now: NoiseLevel, next: NoiseLevel) -> float:
        return reverse_variance(now, next, self._eta(now))

    def weights(self, now: NoiseLevel, next: NoiseLevel, others: Levels) -> tuple[float, ...]:
        return log_snr_weights(self.coordinate, now, next, others, 1.0 + self._eta(now), lambda h, mu: mu[1:])
