"""Linear multistep samplers: one call a step, with weights on the predictions of the steps before."""

from functools import lru_cache
from typing import Any

from torch import Tensor

from ..coordinates import Coordinate, NoiseCoordinate
from ..grids.spacings import Grid
from ..levels import NoiseLevel
from ..prediction import Prediction
from .base import Sampler, State, plus
from .runge_kutta import RungeKutta
from .warm_start import run_up, starter

Levels = tuple[NoiseLevel, ...]


class Multistep(Sampler):
    """x' = alpha' x0 + sqrt(sigma'^2 - v) eps + sum_j w_j (f_j - f_0) + sqrt(v) z, with f_1, f_2, ... of earlier steps.

    What a member says: which field f is remembered (`coordinate`: Noise for eps, Data for x0), how many predictions a
    step combines (`points`), the weights w and the variance v. The first steps have fewer predictions, but for a start
    half-way (`starting`), and the step to clean data is first order wherever tau is infinite there.

    A restart forgets: the state is the levels of earlier predictions and their fields, newest first, or before the
    first step the method that is to take it.
    """

    points: int
    coordinate: Coordinate

    @property
    def order(self) -> int | None:  # type: ignore[override]
        return self.points

    @property
    def order_from_noise(self) -> int | None:
        return self.order and min(self.order, 2)

    def init(self, grid: Grid) -> State:
        return starter(self.order, 1, grid)

    @property
    def turns(self) -> bool:
        return False

    def variance(self, now: NoiseLevel, next: NoiseLevel) -> float:
        """v, the variance of the fresh noise in x'."""
        return 0.0

    def taken(self, pred: Prediction, next: NoiseLevel, levels: Levels) -> Prediction:
        """What a step is made of; another than the prediction itself only under CFG++."""
        return pred

    def weights(self, now: NoiseLevel, next: NoiseLevel, others: Levels) -> tuple[float, ...]:
        """w_j for predictions at other levels, nearest first; as many as are of use."""
        raise NotImplementedError

    def step(
        self, denoise: Any, x: Tensor, now: NoiseLevel, next: NoiseLevel, state: State, noise: Any
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
        x, std = advance(self, self.taken(pred, next, levels), now, next, levels, fields)
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
    infinite = next.alpha == 0 and isinstance(rule.coordinate, NoiseCoordinate)  # where no polynomial can be followed
    weights, variance = () if infinite else rule.weights(now, next, others), rule.variance(now, next)
    total = sum(weights)
    return next.alpha - p * total, (next.sigma**2 - variance) ** 0.5 - q * total, weights, variance**0.5


def check_points(sampler: Any, most: int) -> None:
    if not 1 <= sampler.points <= most:
        raise ValueError(f"points={sampler.points}: {type(sampler).__name__} combines 1 to {most} predictions.")
