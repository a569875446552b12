"""Continuous-time consistency training and distillation: no distance between times, but a derivative by the time."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mezzotint.randomness import KeyedRandom

from ..conditions import conditions_of
from ..denoiser import Denoiser
from ..levels import NoiseLevel, broadcast_like
from ..prediction import Prediction
from .base import Annealed, BaseObjective, combine
from .consistency import check_boundary
from .derivatives import level_rate, path_derivative
from .losses import Loss, SquaredErrorLoss
from .teacher import GuidedTeacher, Teacher
from .times import TimeDistribution
from .training_noise import TrainingNoise
from .weights import LossWeight


class ContinuousConsistency(Annealed, BaseObjective):
    r"""sCM: the gradient of alpha <f(x, t), df/dt>, f the prediction's x0 and df/dt its derivative along the path.

    df/dt = D + r (df/dt - D): D is the part due to the difference between dx/dt and the prediction's own ODE, whose
    gradient is that of diffusion training, and r grows from 0 to 1 in the first `warmup` of the training. In terms of
    the network's value, of which x0 has the factor c, the loss is |value - (value - g / (|g| + 0.1))|^2 with
    g = sign(c) alpha df/dt and |g| the norm over an example per square root of its size; the second value and g have no
    gradient. On schedule=trigflow with target=edm, c_in=unit_variance and c_noise=raw_time this is the paper's.

    dx/dt = alpha' x0 + sigma' eps with the data and the noise of x, or with a teacher's prediction. Sample with
    sampler=lcm. Outside of training the loss is that of the standard objective, as the network begins with.

    Source: Lu and Song 2024, eqs. 6 and 8, sec. 4 and algorithm 1, https://arxiv.org/abs/2410.11081

    Args:
        teacher: a trained denoiser, such as mezzotint.load(run), for distillation; None for training.
        guidance_scale: w of the teacher's classifier-free guidance by label; 1 is none.
        warmup: share of the training until r = 1; the paper uses 10,000 of 400,000 steps.
        norm_offset: added to |g|; the paper uses 0.1.
        times, weight, loss, noise, label_dropout, condition_dropout: see `Objective`; the paper's weight is
            UncertaintyWeight.
    """

    natural = ("warmup",)
    positive = ("norm_offset",)

    def __init__(
        self,
        times: TimeDistribution | None = None,
        weight: LossWeight | None = None,
        loss: Loss | None = None,
        noise: TrainingNoise | None = None,
        teacher: Teacher | None = None,
        guidance_scale: float = 1.0,
        warmup: float = 0.1,
        norm_offset: float = 0.1,
        label_dropout: float = 0.0,
        condition_dropout: Mapping[str, float] | None = None,
    ):
        super().__init__(times, weight, loss, noise, label_dropout, condition_dropout)
        self.teacher = None if teacher is None else GuidedTeacher(teacher, guidance_scale)
        self.warmup, self.norm_offset = warmup, norm_offset

    @property
    def teachers(self) -> tuple[object, ...]:
        return () if self.teacher is None else (self.teacher.denoiser,)

    @property
    def share(self) -> float:
        """r."""
        return 1.0 if self.progress >= self.warmup else self.progress / self.warmup

    def check(self, denoiser: Denoiser) -> None:
        check_boundary(denoiser)
        if denoiser.schedule.steps:
            raise ValueError(
                f"Continuous-time consistency differentiates by the time, and {denoiser.schedule} is a table. Use "
                "schedule=trigflow or rectified, or objective=consistency."
            )

    def forward(self, denoiser: Denoiser, x0: Tensor, draws: KeyedRandom, **cond: Any) -> Tensor:
        """Return losses (B,) of clean x0 (B, C, H, W); conditions by name, such as label (B,) int64."""
        self.check(denoiser)
        times = self.times.sample(draws, denoiser.schedule)
        level, eps = denoiser.schedule.level(times.t), self.noise(x0, draws)
        x = level.perturb(x0, eps)
        cond |= self._dropped(conditions_of(cond), draws, x0.device)
        prediction = denoiser.predict_at(x, times.t, level, **cond)
        if denoiser.training:
            with torch.no_grad():
                value = prediction.value - self.tangent(denoiser, prediction, times.t, x0, eps, cond)
            error = self.loss(prediction.value, value)
            self.times.observe(times.t, error, denoiser.schedule)
        else:
            error = SquaredErrorLoss()(prediction.value, combine(prediction.a, prediction.b, x0, eps))
        return self.weight.weighted(error, level, denoiser.target, times)

    def tangent(
        self, denoiser: Denoiser, prediction: Prediction, t: Tensor, x0: Tensor, eps: Tensor, cond: Mapping[str, Any]
    ) -> Tensor:
        """Return g / (|g| + c), (B, C, H, W)."""
        x, level = prediction.x, prediction.level
        slope = self.slope(denoiser, prediction, t, x0, eps, cond)
        factor = torch.as_tensor(-level.sigma / denoiser.target.determinant(level)).sign() * level.alpha
        g = broadcast_like(factor, x) * slope
        norm = g.flatten(1).square().mean(1).sqrt()
        return g / broadcast_like(norm + self.norm_offset, x)

    def slope(
        self, denoiser: Denoiser, prediction: Prediction, t: Tensor, x0: Tensor, eps: Tensor, cond: Mapping[str, Any]
    ) -> Tensor:
        """Return D + r (df/dt - D) at times t (B,)."""
        x, level = prediction.x, prediction.level
        d_alpha, d_sigma = level_rate(denoiser.schedule, t)
        rate = self.rate(x, level, d_alpha, d_sigma, x0, eps, cond)
        own = prediction.mix(d_alpha, d_sigma)
        on_x = torch.as_tensor(prediction.b / denoiser.target.determinant(level))
        part = broadcast_like(on_x, x) * (rate - own)
        if not self.share:
            return part

        def end(x: Tensor, t: Tensor) -> Tensor:
            return denoiser.predict(x, t, **cond).x0

        return torch.lerp(part, path_derivative(end, x, t, rate).to(part.dtype), self.share)

    def rate(
        self,
        x: Tensor,
        level: NoiseLevel,
        d_alpha: Tensor,
        d_sigma: Tensor,
        x0: Tensor,
        eps: Tensor,
        cond: Mapping[str, Any],
    ) -> Tensor:
        """Return dx/dt: of the data and the noise of x, or of the teacher."""
        if self.teacher is None:
            return combine(d_alpha, d_sigma, x0, eps)
        taught = self.teacher.predict(x, level, cond)  # perhaps in another frame: x0 and eps are the same in all
        return combine(d_alpha, d_sigma, taught.x0, taught.eps)
