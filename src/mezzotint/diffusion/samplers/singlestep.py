"""Singlestep DPM-Solver and DPM-Solver++: predictions at intermediate levels in place of earlier ones."""

from dataclasses import dataclass

from torch import Tensor

from ..coordinates import Coordinate, DataCoordinate, NoiseCoordinate
from ..denoiser import Predict
from ..levels import NoiseLevel
from ..noise_sources import NoiseSource
from .base import Sampler, State
from .exponential import DPMSolver, DPMSolverPP, ExponentialAdamsBashforth, check_coordinate
from .multistep import apply_weights, check_points


@dataclass(frozen=True)
class DPMSolverSinglestep(Sampler):
    r"""Stages at lambda + r h; each stage is the multistep formula with an earlier stage as the other prediction.

    1: DDIM
    2: r = 1/2, then the published two-point formula, in which only the midpoint prediction has weight
    3: r_1 = 1/3, r_2 = 2/3, each stage and the step with the exact integral of the line through D_0 and the last stage

    DataCoordinate gives DPM-Solver++ (2S, 3S), NoiseCoordinate DPM-Solver (2, 3). The steps from pure noise and to
    clean data, where lambda is infinite, are DDIM's.

    Source: Lu et al. 2022, algorithms 1 and 2, https://arxiv.org/abs/2206.00927; algorithm 1,
    https://arxiv.org/abs/2211.01095

    Args:
        points: number of stages, 1 to 3; each is one call.
        coordinate: DataCoordinate or NoiseCoordinate.
    """

    points: int = 2
    coordinate: Coordinate = DataCoordinate()

    def __post_init__(self) -> None:
        check_points(self, 3)
        check_coordinate(type(self).__name__, self.coordinate)

    @property
    def order(self) -> int | None:
        return self.points

    @property
    def calls(self) -> int | None:
        return self.points

    @property
    def order_from_noise(self) -> int | None:
        return min(self.points, 2)

    @property
    def cfg_pp(self) -> bool:
        return self.points <= 2 and self.coordinate == DataCoordinate()

    def step(
        self, denoise: Predict, x: Tensor, now: NoiseLevel, next: NoiseLevel, state: State, noise: NoiseSource
    ) -> tuple[Tensor, State]:
        pred = denoise(x, now)
        if self.points == 1 or next.clean or now.clean or not (now.alpha and next.alpha):
            return pred.mix(next.alpha, next.sigma), None
        if self.points == 2:
            inner = self._intermediate(now, next, 1 / 2)
            field = self.coordinate.field(denoise(pred.mix(inner.alpha, inner.sigma), inner))
            rule = DPMSolver(2) if self.coordinate == NoiseCoordinate() else DPMSolverPP(2)
            return apply_weights(rule, pred, now, next, (inner,), (field,))[0], None
        rule = ExponentialAdamsBashforth(2, self.coordinate)
        first, second = self._intermediate(now, next, 1 / 3), self._intermediate(now, next, 2 / 3)
        field = self.coordinate.field(denoise(pred.mix(first.alpha, first.sigma), first))
        stage, _ = apply_weights(rule, pred, now, second, (first,), (field,))
        field = self.coordinate.field(denoise(stage, second))
        return apply_weights(rule, pred, now, next, (second,), (field,))[0], None

    def _intermediate(self, now: NoiseLevel, next: NoiseLevel, r: float) -> NoiseLevel:
        return NoiseLevel.from_log_snr((1.0 - r) * now.log_snr + r * next.log_snr)
