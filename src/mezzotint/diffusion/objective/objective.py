"""The training objective: a time distribution, a loss weight and a loss."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mezzotint.randomness import KeyedRandom

from ..conditions import conditions_of
from ..denoiser import Denoiser
from ..levels import NoiseLevel, cast_like
from .augment import GeometricAugmentation
from .base import BaseObjective, check_fractions, combine, selected
from .losses import Loss
from .times import TimeDistribution
from .training_noise import TrainingNoise
from .weights import LossWeight


class Objective(BaseObjective):
    """E over t, x0, eps of weight(t) loss(network output, a x0 + b eps), one value per example.

    All random numbers come from keyed streams of `draws`: "time", "noise", "label_dropout", ...

    Args:
        times: the distribution of t.
        weight: the loss weight of each level.
        loss: the loss of one example.
        noise: the noise that is added to the data.
        label_dropout: fraction of examples whose label becomes -1, the null label, for classifier-free guidance.
        condition_dropout: for other conditions, by name, the fraction of examples in which it becomes its null, each
            independent of the others; "all" is the fraction that loses all conditions together, the label included.
        input_perturbation: additional noise in the network's input that is not part of the target, as a multiple of
            eps; Ning et al. 2023 use 0.1, https://arxiv.org/abs/2301.11706
        self_conditioning: fraction of examples whose network input includes a first estimate of x0 (`estimate`, zeros
            for the others); sample with `SelfConditioned`. Chen et al. 2022 use 0.5, https://arxiv.org/abs/2208.04202
        augment: transforms the images and conditions the network on it (`augment`), in training mode only.
    """

    natural = ("input_perturbation",)

    def __init__(
        self,
        times: TimeDistribution | None = None,
        weight: LossWeight | None = None,
        loss: Loss | None = None,
        noise: TrainingNoise | None = None,
        label_dropout: float = 0.0,
        input_perturbation: float = 0.0,
        self_conditioning: float = 0.0,
        augment: GeometricAugmentation | None = None,
        condition_dropout: Mapping[str, float] | None = None,
    ):
        super().__init__(times, weight, loss, noise, label_dropout, condition_dropout)
        check_fractions({"self_conditioning": self_conditioning})
        self.self_conditioning = self_conditioning
        self.input_perturbation, self.augment = input_perturbation, augment

    def forward(self, denoiser: Denoiser, x0: Tensor, draws: KeyedRandom, **cond: Any) -> Tensor:
        """Return losses (B,) of clean x0 (B, C, H, W); conditions by name, such as label (B,) int64."""
        schedule, target = denoiser.schedule, denoiser.target
        if self.augment is not None and denoiser.training:
            x0, cond["augment"] = self.augment(x0, draws)
        times = self.times.sample(draws, schedule)
        level, eps = schedule.level(times.t), self.noise(x0, draws)
        x = level.perturb(x0, self._perturbed(eps, draws))
        cond |= self._dropped(conditions_of(cond), draws, x0.device)
        if self.self_conditioning:
            cond["estimate"] = self._estimate(denoiser, x, times.t, level, draws, cond)
        prediction = denoiser.predict_at(x, times.t, level, **cond)
        error = self.loss(prediction.value, combine(prediction.a, prediction.b, x0, eps))
        losses, bound = self.weight.weighted(error, level, target, times), self.loss.bound(prediction, x0, times)
        if bound is not None:
            losses, error = losses + bound, error + bound.detach() / cast_like(times.importance(), bound)
        if denoiser.training:
            self.times.observe(times.t, error, schedule)
        return losses

    def _perturbed(self, eps: Tensor, draws: KeyedRandom) -> Tensor:
        if not self.input_perturbation:
            return eps
        return eps + self.input_perturbation * draws.to(eps.device).normal("perturbation", eps.shape[1:]).to(eps)

    @torch.no_grad()
    def _estimate(
        self, denoiser: Denoiser, x: Tensor, t: Tensor, level: NoiseLevel, draws: KeyedRandom, cond: dict[str, Any]
    ) -> Tensor:
        first = denoiser.predict_at(x, t, level, **cond, estimate=torch.zeros_like(x)).x0
        chosen = selected("self_conditioning", self.self_conditioning, draws, x.device)
        return torch.where(chosen.reshape(-1, *(1,) * (x.ndim - 1)), first, 0.0)
