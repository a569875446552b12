"""Linear multistep samplers: one call per step, with weights on the predictions of earlier steps."""

import abc
from functools import lru_cache
from typing import Protocol

from torch import Tensor

from ..coordinates import Coordinate, NoiseCoordinate
from ..denoiser import Predict
from ..grids.spacings import Grid
from ..levels import NoiseLevel
from ..noise_sources import NoiseSource
from ..prediction import Prediction
from .base import Sampler, State, add_scaled_
from .runge_kutta import RungeKutta
from .warm_start import run_up, starter

Levels = tuple[NoiseLevel, ...]


class Multistep(Sampler):
    """x' = alpha' x0 + sqrt(sigma'^2 - v) eps + sum_j w_j (f_j - f_0) + sqrt(v) z, with f_1, f_2, ... of earlier steps.

    A subclass defines the field f that is stored (`coordinate`: NoiseCoordinate for eps, DataCoordinate for x0), the
    number of predictions that a step combines (`points`), the weights w and the variance v. The first steps have fewer
    predictions, except where `starter` chooses a one-step method, and the step to clean data is first order wherever
    tau is infinite there.

    The state holds the levels of earlier predictions and their fields, newest first; before the first step it may be
    the method that takes that step. A restart discards it.
    """

    points: int
    coordinate: Coordinate

    @property
    def order(self) -> int | None:
        return self.points

    @property
    def order_from_noise(self) -> int | None:
        return self.order and min(self.order, 2)

    def init(self, grid: Grid) -> State:
        return starter(self.order, 1, grid)

    @property
    def turns(self) -> bool:
        return False

    @property
    def one_step(self) -> bool:
        return False

    def variance(self, now: NoiseLevel, next: NoiseLevel) -> float:
        """v, the variance of the fresh noise in x'."""
        return 0.0

    def base_prediction(self, pred: Prediction, next: NoiseLevel, levels: Levels) -> Prediction:
        """Return the prediction that the step starts from; it differs from `pred` only under CFG++."""
        return pred

    @abc.abstractmethod
    def weights(self, now: NoiseLevel, next: NoiseLevel, others: Levels) -> tuple[float, ...]:
        """Return w_j for predictions at other levels, nearest first; it may be shorter than `others`."""

    def step(
        self, denoise: Predict, x: Tensor, now: NoiseLevel, next: NoiseLevel, state: State, noise: NoiseSource
    ) -> tuple[Tensor, State]:
        kept = self.points - 1
        if isinstance(state, RungeKutta):
            if not next.clean:
                x, ((_, first), *_, (level, last)) = run_up(state, denoise, x, now, next)
                return x, ((level, now), (self.coordinate.field(last), self.coordinate.field(first)))
            state = None
        pred = denoise(x, now)
        levels, fields = state or ((), ())
        field = self.coordinate.field(pred.unguided)
        x, std = apply_weights(self, self.base_prediction(pred, next, levels), now, next, levels, fields)
        if std:
            x = add_scaled_(x, noise(x, now, next), std)
        return x, ((now, *levels)[:kept], (field, *fields)[:kept])


class Rule(Protocol):
    """The weights and noise variance of a multistep step; hashable, since `step_coefficients` are cached."""

    @property
    def coordinate(self) -> Coordinate: ...

    def weights(self, now: NoiseLevel, next: NoiseLevel, others: Levels) -> tuple[float, ...]: ...

    def variance(self, now: NoiseLevel, next: NoiseLevel) -> float: ...


def apply_weights(
    rule: Rule, pred: Prediction, now: NoiseLevel, next: NoiseLevel, levels: Levels, fields: tuple[Tensor, ...]
) -> tuple[Tensor, float]:
    """Return x' without its noise, and the noise's standard deviation; `fields` are at `levels`, nearest first."""
    on_x0, on_eps, weights, std = step_coefficients(rule, now, next, levels)
    x = pred.mix(on_x0, on_eps)
    for weight, field in zip(weights, fields, strict=False):
        x = add_scaled_(x, field, weight)
    return x, std


@lru_cache(maxsize=4096)
def step_coefficients(
    rule: Rule, now: NoiseLevel, next: NoiseLevel, others: Levels
) -> tuple[float, float, tuple[float, ...], float]:
    """Return the factors on x0, on eps, on each other field, and on the noise."""
    p, q = rule.coordinate.direction(now)
    infinite = next.alpha == 0 and rule.coordinate == NoiseCoordinate()  # so is the polynomial's variable at `next`
    weights, variance = () if infinite else rule.weights(now, next, others), rule.variance(now, next)
    total = sum(weights)
    on_x0, on_eps = next.alpha - p * total, (next.sigma**2 - variance) ** 0.5 - q * total
    return float(on_x0), float(on_eps), weights, variance**0.5


class HasPoints(Protocol):
    @property
    def points(self) -> int: ...


def check_points(sampler: HasPoints, most: int) -> None:
    """Raise ValueError unless the sampler combines 1 to `most` predictions."""
    if not 1 <= sampler.points <= most:
        raise ValueError(f"points={sampler.points}: {type(sampler).__name__} combines 1 to {most} predictions.")
