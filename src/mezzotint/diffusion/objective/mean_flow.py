"""Mean flow: a network that predicts the average velocity between two times, for sampling in one or a few steps."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mezzotint.randomness import KeyedRandom

from ..conditions import conditions_of, is_null, null_like
from ..denoiser import Denoiser
from ..interval import INTERVAL, flow_time
from ..levels import broadcast_like, cast_like
from ..schedules.continuous import Schedule
from ..targets import Flow
from .base import BaseObjective, check_fractions, combine
from .derivatives import OfPath, level_rate, path_derivative
from .losses import Loss, SquaredErrorLoss
from .times import TimeDistribution
from .training_noise import TrainingNoise
from .weights import LossWeight


class MeanFlowObjective(BaseObjective):
    r"""MeanFlow: the network predicts U(x, t, r), the average over [r, t] of the velocity eps - x0 along the ODE.

    In flow time, U = V - (t - r) dU/dt with V = eps - x0 and d/dt along the path: a forward-mode derivative of the
    network, without gradient, gives the value that it is trained towards. With r = t this is the loss of flow matching.
    Other schedules are transformed to flow time, u = sigma / (alpha + sigma). The network takes t and, as `interval`,
    t - r; sample with `MeanFlow`.

    Outside of training the error is the squared one: the validation loss is that of flow matching, whatever `loss` is.

    The paper sorts two independent times. Here t has the distribution `times` and r the same one below t, so that
    weights which depend on the density of t remain valid.

    Source: Geng et al. 2025, eqs. 6, 9 and 13, algorithm 1, https://arxiv.org/abs/2505.13447; `improved`: Geng et al.
    2025, sec. 4.1, https://arxiv.org/abs/2512.02012

    Args:
        times: the distribution of t.
        weight: the loss weight of each level.
        loss: the loss of one example; the paper's is AdaptiveLoss.
        noise: the noise that is added to the data.
        equal: fraction of examples with r = t; the paper uses 0.75 for images.
        improved: the derivative is along the network's own velocity, which has less variance, instead of eps - x0.
        guidance_scale: w of classifier-free guidance, which becomes part of the velocity; 1 is none. Needs labels and
            label_dropout; sample without guidance.
        label_dropout: fraction of examples whose label becomes -1, the null label.
        condition_dropout: the same for other conditions, by name.

    Raises:
        ValueError: from `forward`: the target is not the flow velocity, or the schedule is a table.
    """

    def __init__(
        self,
        times: TimeDistribution | None = None,
        weight: LossWeight | None = None,
        loss: Loss | None = None,
        noise: TrainingNoise | None = None,
        equal: float = 0.75,
        improved: bool = False,
        guidance_scale: float = 1.0,
        label_dropout: float = 0.0,
        condition_dropout: Mapping[str, float] | None = None,
    ):
        super().__init__(times, weight, loss, noise, label_dropout, condition_dropout)
        check_fractions({"equal": equal})
        if guidance_scale != 1.0 and not label_dropout:
            raise ValueError(
                f"guidance_scale={guidance_scale:g} compares with the network's velocity without a label, which it "
                "never learns with label_dropout=0. Use label_dropout=0.1."
            )
        self.equal, self.improved, self.guidance_scale = equal, improved, guidance_scale

    def forward(self, denoiser: Denoiser, x0: Tensor, draws: KeyedRandom, **cond: Any) -> Tensor:
        """Return losses (B,) of clean x0 (B, C, H, W); conditions by name, such as label (B,) int64."""
        self.check(denoiser)
        schedule = denoiser.schedule
        times = self.times.sample(draws, schedule)
        level, eps = schedule.level(times.t), self.noise(x0, draws)
        x = level.perturb(x0, eps)
        cond |= self._dropped(conditions_of(cond), draws, x0.device)
        end, shorter = self.ends(times.t, draws, schedule)
        interval = cast_like(torch.as_tensor(flow_time(level) - flow_time(schedule.level(end))), x)
        prediction = denoiser.predict_at(x, times.t, level, **cond, **{INTERVAL: interval})
        value = combine(prediction.a, prediction.b, x0, eps)
        with torch.no_grad():
            if self.guidance_scale != 1.0:
                value = self._guided(denoiser, x, times.t, value, cond)
            if len(shorter):
                value = self._averaged(denoiser, x0, eps, times.t, end, value, cond, shorter)
        loss = self.loss if denoiser.training else SquaredErrorLoss()
        error = loss(prediction.value, value)
        losses = self.weight.weighted(error, level, denoiser.target, times)
        if denoiser.training:
            self.times.observe(times.t, error, schedule)
        return losses

    def check(self, denoiser: Denoiser) -> None:
        """Raise ValueError unless the denoiser predicts the flow velocity on a continuous schedule."""
        schedule, target = denoiser.schedule, denoiser.target
        if not isinstance(target, Flow):
            raise ValueError(
                "objective=mean_flow averages the velocity eps - x0, which is not what "
                f"target={type(target).__name__.lower()} predicts. Use target=flow."
            )
        if schedule.steps or schedule.learned:
            kind = "learned" if schedule.learned else "a table"
            raise ValueError(
                f"objective=mean_flow differentiates along the path, and the schedule {schedule} is {kind}. Use "
                "schedule=rectified or another continuous one."
            )

    def ends(self, t: Tensor, draws: KeyedRandom, schedule: Schedule) -> tuple[Tensor, Tensor]:
        """Return r, (B,) float64 at most t, and the numbers of the examples where it is smaller."""
        u = self.times.uniforms(draws)
        before = self.times.at(u * draws.uniform("end"), schedule).minimum(t)
        chosen = draws.uniform("unequal_times") < 1.0 - self.equal
        return torch.where(chosen, before, t), chosen.nonzero()[:, 0]

    def _guided(self, denoiser: Denoiser, x: Tensor, t: Tensor, value: Tensor, cond: dict[str, Any]) -> Tensor:
        """Return w value + (1 - w) U(x, t, t) without a label, and value itself where the label is dropped."""
        label = cond.get("label")
        if label is None:
            raise ValueError(f"guidance_scale={self.guidance_scale:g} needs labels, and the data have none. Use 1.")
        null = denoiser.predict(x, t, **cond | {"label": null_like(label)}).value
        guided = torch.lerp(null, value, self.guidance_scale)
        return torch.where(is_null(label).reshape(-1, *(1,) * (x.ndim - 1)), value, guided)

    def _averaged(
        self,
        denoiser: Denoiser,
        x0: Tensor,
        eps: Tensor,
        t: Tensor,
        end: Tensor,
        value: Tensor,
        cond: dict[str, Any],
        shorter: Tensor,
    ) -> Tensor:
        """Return V - (t - r) dU/dt in the selected examples, and V = `value` in the others."""
        here = shorter.to(x0.device, non_blocking=True)
        given = {name: c[here] if isinstance(c, Tensor) else c for name, c in cond.items()}
        velocity = value[here]
        t, end = t[shorter], end[shorter]
        x = denoiser.schedule.level(t).perturb(x0[here], eps[here])
        if self.improved:
            velocity = denoiser.predict(x, t, **given).value
        slope = total_derivative(average_velocity(denoiser, end, given), denoiser.schedule, x, t, velocity)
        length = torch.as_tensor(flow_time(denoiser.schedule.level(t)) - flow_time(denoiser.schedule.level(end)))
        return value.index_copy(0, here, (value[here] - broadcast_like(length, slope) * slope).to(value.dtype))


def average_velocity(denoiser: Denoiser, end: Tensor, cond: Mapping[str, Any]) -> OfPath:
    """Return U(x, t) between times t and a fixed end r, as a function of x and t (B,)."""
    until = flow_time(denoiser.schedule.level(end))

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        level = denoiser.schedule.level(t)
        interval = cast_like(torch.as_tensor(flow_time(level) - until), x)
        return denoiser.predict_at(x, t, level, **cond, **{INTERVAL: interval}).value

    return velocity


def total_derivative(function: OfPath, schedule: Schedule, x: Tensor, t: Tensor, velocity: Tensor) -> Tensor:
    """Return d/du of function(x, t) along the path through x with this velocity eps - x0, u the flow time.

    x0 and eps follow from x and the velocity, hence dx/dt = alpha' x0 + sigma' eps; the derivative by u is that by t
    divided by du/dt.
    """
    level, (d_alpha, d_sigma) = schedule.level(t), level_rate(schedule, t)
    total = level.alpha + level.sigma  # x0 = (x - sigma v) / total, eps = (x + alpha v) / total
    twist = level.alpha * d_sigma - level.sigma * d_alpha  # du/dt total^2
    dx = broadcast_like((d_alpha + d_sigma) / total, x) * x + broadcast_like(twist / total, x) * velocity
    slope = path_derivative(function, x, t, dx)
    return slope / broadcast_like(twist / total**2, slope)
