"""Multistep samplers that correct each step with the prediction made at its end, at no further call."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from torch import Tensor

from ..coordinates import Coordinate, DataCoordinate
from ..grids.spacings import Grid
from ..levels import NoiseLevel
from ..prediction import Prediction
from .base import Sampler, State, plus, rho
from .exponential import log_snr_weights, reverse_variance
from .multistep import Levels, advance, check_points
from .runge_kutta import RungeKutta
from .warm_start import run_up, starter


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """What a step is told of those before it.

    Args:
        last: levels at the end of the grid to which steps of lower order lead, in order.
        start: method of the first step, before that (`starting`).
        begun: the prediction that the last step began with; None before the first and after a restart.
        levels, fields: before it, nearest first.
        drawn: the last step's noise.
    """

    last: Levels = ()
    start: RungeKutta | None = None
    begun: Prediction | None = None
    levels: Levels = ()
    fields: tuple[Tensor, ...] = ()
    drawn: Tensor | None = None

    def points(self, most: int, end: NoiseLevel) -> int:
        """Predictions, at most `most`, of the step that leads to a level: 1 for the last step, 2 before, and so on."""
        return min(most, len(self.last) - self.last.index(end)) if end in self.last else most


class PredictorCorrector(Sampler):
    """Predict x' from earlier predictions; once the one at x' is known, take the step again with it among the others.

    The corrected x goes on with the prediction made at the predicted one, so a step has one call. The step to clean
    data is only predicted: no network is asked there. The noise of a step is the same both times.

    """

    coordinate: ClassVar[Coordinate] = DataCoordinate()
    predictor: int  # predictions that predict
    corrector: int  # predictions that correct, the new one among them; 0 for none

    @property
    def order_from_noise(self) -> int | None:
        return self.order and min(self.order, 2)

    @property
    def turns(self) -> bool:
        return False

    def init(self, grid: Grid) -> State:
        return Past(self.lowered(grid), starter(self.order, 2 if self.corrector else 1, grid))

    def lowered(self, grid: Grid) -> Levels:
        """The last levels, to which steps of lower order lead."""
        return ()

    def variance(self, now: NoiseLevel, next: NoiseLevel) -> float:
        """v, the variance of the fresh noise in x'."""
        return 0.0

    def weights(self, now: NoiseLevel, next: NoiseLevel, others: Levels) -> tuple[float, ...]:
        """w_j for predictions at other levels, nearest first."""
        raise NotImplementedError

    def step(
        self, denoise: Any, x: Tensor, now: NoiseLevel, next: NoiseLevel, state: State, noise: Any
    ) -> tuple[Tensor, State]:
        past = Past() if state is None else state
        if past.start is not None and not next.clean:
            end, ((_, first), *_, (level, last)) = run_up(past.start, denoise, x, now, next)
            first, last = self.coordinate.field(first), self.coordinate.field(last)
            begun = Prediction(x, now, first, *self.coordinate.direction(now))
            return end, replace(past, start=None, begun=begun, levels=(level,), fields=(last,))
        newest = self.coordinate.field(denoise(x, now))
        levels, fields, before = past.levels, past.fields, past.begun
        if before is not None:
            if self.corrector:
                k = past.points(self.corrector - 1, now)
                x, std = advance(self, before, before.level, now, (now, *levels)[:k], (newest, *fields)[:k])
                x = x if past.drawn is None else plus(x, past.drawn, std)
            levels, fields = (before.level, *levels), (before.value, *fields)
        pred = Prediction(x, now, newest, *self.coordinate.direction(now))
        k = past.points(self.predictor, next) - 1
        x, std = advance(self, pred, now, next, levels[:k], fields[:k])
        drawn = noise(x, now, next) if std else None
        kept = max(self.predictor, self.corrector) - 2
        x = x if drawn is None else plus(x, drawn, std)
        return x, Past(past.last, None, pred, levels[:kept], fields[:kept], drawn)


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
    r"""UniPC-p of x0: x' = (sigma'/sigma) x + alpha' (1 - e^-h) D_0 + alpha' B(h) sum_m (a_m / r_m) (D_m - D_0).

    The a_m solve R a = b, which makes the integrals of the polynomials in lambda exact whatever B(h) is; with one other
    prediction the paper takes a = 1/2 instead, and only there B(h) matters. The corrector has the new prediction among
    its p + 1 and so one order more.

    Source: Zhao et al. 2023, algorithms 5 to 8, https://arxiv.org/abs/2302.04867

    Args:
        points: p, 1 to 3; the order is p + 1.
        b: BH1() or BH2().
        lower_order_final: the last step has one point, that before two, as in the authors' code; the order is 2 then.
    """

    points: int = 2
    b: BH1 | BH2 = BH2()
    lower_order_final: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        check_points(self, 3)

    @property
    def order(self) -> int | None:  # type: ignore[override]
        return 2 if self.lower_order_final else self.points + 1

    def lowered(self, grid: Grid) -> Levels:
        return grid[-self.points :] if self.lower_order_final else ()

    @property
    def predictor(self) -> int:  # type: ignore[override]
        return self.points

    @property
    def corrector(self) -> int:  # type: ignore[override]
        return self.points + 1

    def weights(self, now: NoiseLevel, next: NoiseLevel, others: Levels) -> tuple[float, ...]:
        return log_snr_weights(self.coordinate, now, next, others, 1.0, self._moments)

    def _moments(self, h: float, mu: list[float]) -> list[float]:
        """mu_0 = alpha' (1 - e^-h)."""
        return [0.5 * h * self.b(h) * mu[0] / -math.expm1(-h)] if len(mu) == 2 else mu[1:]


@dataclass(frozen=True)
class SASolver(PredictorCorrector):
    r"""Stochastic Adams, predicted and corrected.

    x' = (sigma'/sigma) e^{-eta h} x + sum_j b_j D_j + sigma' sqrt(1 - e^{-2 eta h}) z with
    b_j = alpha' (1 + eta) times the integral of e^{-(1 + eta)(lambda' - l)} L_j(l) from lambda to lambda'; eta is the
    paper's tau^2, kept to a band of noise levels.

    Source: Xue et al. 2023, algorithm 1, https://arxiv.org/abs/2309.05019

    Args:
        predictor: predictions that predict, 1 to 4.
        corrector: predictions that correct, the new one among them, 2 to 4; 0 for none.
        eta: tau^2, share of fresh noise; 0 is the ODE, 1 the reverse SDE.
        low, high: the band of sigma / alpha, from `low` (not included) to `high`, that gets noise.
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
    def order(self) -> int | None:  # type: ignore[override]
        if self.eta:
            return None
        return min(self.predictor + 1, self.corrector) if self.corrector else self.predictor

    @property
    def weak_order(self) -> int | None:  # type: ignore[override]
        return min(self.predictor, 2) if self.eta else None

    def _eta(self, now: NoiseLevel) -> float:
        return self.eta if self.low < rho(now) <= self.high else 0.0

    def variance(self, now: NoiseLevel, next: NoiseLevel) -> float:
        return reverse_variance(now, next, self._eta(now))

    def weights(self, now: NoiseLevel, next: NoiseLevel, others: Levels) -> tuple[float, ...]:
        return log_snr_weights(self.coordinate, now, next, others, 1.0 + self._eta(now), lambda h, mu: mu[1:])
