"""Distillation of a sampler's steps: reflow, and progressive distillation of two steps into one."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mezzotint.randomness import KeyedRandom

from ..conditions import conditions_of
from ..denoiser import Denoise, Denoiser
from ..grids.spacings import Spacing
from ..levels import NoiseLevel, broadcast_like
from ..sample import sample
from ..samplers.base import Sampler
from .base import BaseObjective, combine
from .losses import Loss
from .objective import Objective
from .teacher import GuidedTeacher, Teacher, follow
from .times import TimeDistribution
from .training_noise import TrainingNoise
from .weights import LossWeight


class ReflowObjective(Objective):
    """The standard objective with x0 the teacher's sample from the noise eps that is added: paths become straight.

    Each example is sampled when it is trained on, and is a function of the seed and the example's number: a run needs
    no stored pairs and resumes at any of them. Of the data it takes shape and conditions. A step costs the sampler's
    calls of the teacher besides. Use target=flow on schedule=rectified for straight paths.

    Source: Liu et al. 2023, sec. 2.1 and algorithm 1 (2-rectified flow), https://arxiv.org/abs/2209.03003

    Args:
        teacher: a trained denoiser, such as mezzotint.load(run); not trained, and not part of checkpoints.
        sampler: a deterministic sampler for the teacher.
        grid: its levels.
        times, weight, loss, noise, label_dropout, input_perturbation, condition_dropout: see `Objective`.

    Raises:
        ValueError: the sampler is stochastic, so that a sample is not a function of eps.
    """

    def __init__(
        self,
        teacher: Denoise,
        sampler: Sampler,
        grid: Spacing,
        times: TimeDistribution | None = None,
        weight: LossWeight | None = None,
        loss: Loss | None = None,
        noise: TrainingNoise | None = None,
        label_dropout: float = 0.0,
        input_perturbation: float = 0.0,
        condition_dropout: Mapping[str, float] | None = None,
    ):
        super().__init__(
            times, weight, loss, noise, label_dropout, input_perturbation, condition_dropout=condition_dropout
        )
        if sampler.order is None:
            raise ValueError(f"{sampler} adds noise, and a pair must be a function of eps. Use sampler=heun or ddim.")
        self.sampler, self.grid = sampler, grid
        self._teachers = (teacher,)  # not a submodule: neither trained nor saved

    @property
    def teachers(self) -> tuple[object, ...]:
        return self._teachers

    def forward(self, denoiser: Denoiser, x0: Tensor, draws: KeyedRandom, **cond: Any) -> Tensor:
        """Return losses (B,); of x0 (B, C, H, W) the shape is used, and conditions by name."""
        (teacher,) = self._teachers
        follow(teacher, x0.device)
        eps = self.noise(x0, draws)  # the same that the standard objective draws
        return super().forward(denoiser, sample(teacher, self.sampler, self.grid, eps, **cond), draws, **cond)


class ProgressiveDistillation(BaseObjective):
    """The step of a grid of `steps` steps learns two DDIM steps of the teacher at half the length.

    With x'' the result of both, from t to t'', the network learns the x0 whose single DDIM step gives x'':
    x0 = (x'' - (sigma'' / sigma) x) / (alpha'' - (sigma'' / sigma) alpha). Halve `steps` from run to run, each with the
    last as its teacher and init=; sample with sampler=ddim grid.steps=steps.

    Source: Salimans and Ho 2022, algorithm 2, https://arxiv.org/abs/2202.00512

    Args:
        teacher: a trained denoiser, such as mezzotint.load(run); not trained, and not part of checkpoints.
        steps: number of steps of the student.
        guidance_scale: w of the teacher's classifier-free guidance by label; 1 is none.
        times: the distribution of t, which is rounded up to the next time of the grid.
        weight: the loss weight of each level; the paper's is TruncatedSNRWeight.
        loss, noise, label_dropout, condition_dropout: see `Objective`.
    """

    positive = ("steps",)

    def __init__(
        self,
        teacher: Teacher,
        steps: int,
        guidance_scale: float = 1.0,
        times: TimeDistribution | None = None,
        weight: LossWeight | None = None,
        loss: Loss | None = None,
        noise: TrainingNoise | None = None,
        label_dropout: float = 0.0,
        condition_dropout: Mapping[str, float] | None = None,
    ):
        super().__init__(times, weight, loss, noise, label_dropout, condition_dropout)
        self.teacher, self.steps = GuidedTeacher(teacher, guidance_scale), steps

    @property
    def teachers(self) -> tuple[object, ...]:
        return (self.teacher.denoiser,)

    def check(self, denoiser: Denoiser) -> None:
        schedule = denoiser.schedule
        if schedule.learned:
            raise ValueError(f"The schedule {schedule} changes in training, and steps are learned on a fixed one.")
        if schedule.steps and schedule.steps % (2 * self.steps):
            raise ValueError(
                f"steps={self.steps}: twice as many steps do not divide the {schedule.steps} entries of {schedule}. "
                "Use another number, or a continuous schedule."
            )

    def forward(self, denoiser: Denoiser, x0: Tensor, draws: KeyedRandom, **cond: Any) -> Tensor:
        """Return losses (B,) of clean x0 (B, C, H, W); conditions by name, such as label (B,) int64."""
        self.check(denoiser)
        schedule = denoiser.schedule
        times = self.times.sample(draws, schedule)
        width = schedule.t_max / self.steps
        t = ((times.t / width).ceil().clamp(min=1) * width).clamp(max=schedule.t_max)
        level, middle, end = (schedule.level((t - part * width).clamp(min=0)) for part in (0.0, 0.5, 1.0))
        eps = self.noise(x0, draws)
        x = level.perturb(x0, eps)
        cond |= self._dropped(conditions_of(cond), draws, x0.device)
        prediction = denoiser.predict_at(x, t, level, **cond)
        with torch.no_grad():
            clean = self.halved(x, level, middle, end, cond)
            noise = (x - broadcast_like(level.alpha, x) * clean) / broadcast_like(level.sigma, x)
        error = self.loss(prediction.value, combine(prediction.a, prediction.b, clean, noise))
        losses = self.weight.weighted(error, level, denoiser.target, times)
        if denoiser.training:
            self.times.observe(times.t, error, schedule)
        return losses

    def halved(
        self, x: Tensor, level: NoiseLevel, middle: NoiseLevel, end: NoiseLevel, cond: Mapping[str, Any]
    ) -> Tensor:
        """Return the x0 whose one DDIM step from `level` to `end` is the teacher's two."""
        x_end = self.teacher.step(self.teacher.step(x, level, middle, cond), middle, end, cond)
        ratio = end.sigma / level.sigma
        return (x_end - broadcast_like(ratio, x) * x) / broadcast_like(end.alpha - ratio * level.alpha, x)
