"""The training objective: a time distribution, a loss weight and a loss."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mezzotint.finite import Finite
from mezzotint.randomness import KeyedRandom

from ..denoiser import Denoiser
from ..levels import NoiseLevel, broadcast_like, cast_like
from ..scalar_ops import Number
from .augment import GeometricAugmentation
from .losses import Loss, SquaredErrorLoss
from .times import TimeDistribution, UniformTimes
from .training_noise import GaussianNoise, TrainingNoise
from .weights import ConstantWeight, LossWeight


class Objective(nn.Module, metaclass=Finite):
    """E over t, x0, eps of weight(t) loss(network output, a x0 + b eps), one value per example.

    All random numbers come from keyed streams of `draws`: "time", "noise", "label_dropout", ...

    Args:
        times: the distribution of t.
        weight: the loss weight of each level.
        loss: the loss of one example.
        noise: the noise that is added to the data.
        label_dropout: fraction of examples whose label becomes -1, the null label, for classifier-free guidance.
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
    ):
        super().__init__()
        self.times = UniformTimes() if times is None else times
        self.weight = ConstantWeight() if weight is None else weight
        self.loss = SquaredErrorLoss() if loss is None else loss
        self.noise = GaussianNoise() if noise is None else noise
        for name, share in (("label_dropout", label_dropout), ("self_conditioning", self_conditioning)):
            if not 0.0 <= share <= 1.0:
                raise ValueError(f"{name}={share} is a fraction of the examples. Give a number from 0 to 1.")
        self.label_dropout, self.self_conditioning = label_dropout, self_conditioning
        self.input_perturbation, self.augment = input_perturbation, augment
        self.within = nn.ModuleList(
            part for name in ("times", "weight") for part in nested_modules(getattr(self, name))
        )

    def forward(self, denoiser: Denoiser, x0: Tensor, draws: KeyedRandom, **cond: Any) -> Tensor:
        """Return losses (B,) of clean x0 (B, C, H, W); conditioning by name, label (B,) int64."""
        schedule, target = denoiser.schedule, denoiser.target
        if self.augment is not None and denoiser.training:
            x0, cond["augment"] = self.augment(x0, draws)
        times = self.times.sample(draws, schedule)
        level, eps = schedule.level(times.t), self.noise(x0, draws)
        x = level.perturb(x0, self._perturbed(eps, draws))
        if self.label_dropout and cond.get("label") is not None:
            cond["label"] = torch.where(self._selected("label_dropout", draws, x0), -1, cond["label"])
        if self.self_conditioning:
            cond["estimate"] = self._estimate(denoiser, x, times.t, level, draws, cond)
        prediction = denoiser.predict_at(x, times.t, level, **cond)
        error = self.loss(prediction.value, combine(prediction.a, prediction.b, x0, eps))
        losses, bound = self.weight.apply(error, level, target, times), self.loss.bound(prediction, x0, times)
        if bound is not None:
            losses, error = losses + bound, error + bound.detach() / cast_like(times.importance(), bound)
        if denoiser.training:
            self.times.observe(times.t, error, schedule)
        return losses

    def _perturbed(self, eps: Tensor, draws: KeyedRandom) -> Tensor:
        if not self.input_perturbation:
            return eps
        return eps + self.input_perturbation * draws.to(eps.device).normal("perturbation", eps.shape[1:]).to(eps)

    def _selected(self, share: str, draws: KeyedRandom, like: Tensor) -> Tensor:
        """Return (B,), true for the fraction of examples that the named setting gives."""
        return (draws.uniform(share) < getattr(self, share)).to(like.device, non_blocking=True)

    @torch.no_grad()
    def _estimate(
        self, denoiser: Denoiser, x: Tensor, t: Tensor, level: NoiseLevel, draws: KeyedRandom, cond: dict[str, Any]
    ) -> Tensor:
        first = denoiser.predict_at(x, t, level, **cond, estimate=torch.zeros_like(x)).x0
        selected = self._selected("self_conditioning", draws, x).reshape(-1, *(1,) * (x.ndim - 1))
        return torch.where(selected, first, 0.0)


def nested_modules(part: Any) -> Iterator[nn.Module]:
    """Yield the modules in the fields of a dataclass, such as StratifiedTimes(LossAwareTimes()), unseen by torch."""
    if is_dataclass(part):
        for value in (getattr(part, field.name) for field in fields(part)):
            yield from [value] if isinstance(value, nn.Module) else nested_modules(value)


def combine(a: Number, b: Number, x0: Tensor, eps: Tensor) -> Tensor:
    """Return a x0 + b eps, skipping products with 0 and 1."""
    if isinstance(a, float) and isinstance(b, float) and (a, b) in ((1.0, 0.0), (0.0, 1.0)):
        return x0 if a else eps
    if isinstance(a, float) and a == 0.0:
        return broadcast_like(b, eps) * eps
    return broadcast_like(a, x0) * x0 + broadcast_like(b, eps) * eps
