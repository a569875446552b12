"""The training objective: a time distribution, a loss weight and a loss."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mezzotint.finite import Finite
from mezzotint.randomness import KeyedRandom

from ..conditions import conditions_of, dropped
from ..denoiser import Denoiser
from ..levels import NoiseLevel, broadcast_like, cast_like
from ..scalar_ops import Number, equals
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
        super().__init__()
        self.times = UniformTimes() if times is None else times
        self.weight = ConstantWeight() if weight is None else weight
        self.loss = SquaredErrorLoss() if loss is None else loss
        self.noise = GaussianNoise() if noise is None else noise
        rates = dict(condition_dropout or {})
        named = {f"condition_dropout.{name}": rate for name, rate in rates.items()}
        named |= {"label_dropout": label_dropout, "self_conditioning": self_conditioning}
        for name, share in named.items():
            if not 0.0 <= share <= 1.0:
                raise ValueError(f"{name}={share} is a fraction of the examples. Give a number from 0 to 1.")
        if "label" in rates:
            raise ValueError(f"condition_dropout={rates}: the label has its own rate, label_dropout.")
        self.label_dropout, self.condition_dropout = label_dropout, rates
        self.self_conditioning = self_conditioning
        self.input_perturbation, self.augment = input_perturbation, augment
        self.within = nn.ModuleList(
            part for name in ("times", "weight") for part in nested_modules(getattr(self, name))
        )

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

    def _dropped(self, conditions: Mapping[str, Tensor], draws: KeyedRandom, device: torch.device) -> dict[str, Tensor]:
        """Return the conditions that have a rate of dropout, with their null in the selected examples."""
        rates = {"label": self.label_dropout} | self.condition_dropout
        joint = rates.pop("all", 0.0)
        if unknown := [name for name in rates if name not in conditions and name != "label"]:
            raise ValueError(
                f"condition_dropout={self.condition_dropout}, and there is no condition {unknown[0]!r}: "
                f"{', '.join(sorted(conditions)) or 'none'} is given. Name a condition of the data, or all."
            )
        result = {}
        for name, value in conditions.items():
            if rates.get(name, 0.0):
                value = dropped(value, selected(f"{name}_dropout", rates[name], draws, device))
            if joint:
                value = dropped(value, selected("condition_dropout", joint, draws, device))
            result[name] = value
        return result

    @torch.no_grad()
    def _estimate(
        self, denoiser: Denoiser, x: Tensor, t: Tensor, level: NoiseLevel, draws: KeyedRandom, cond: dict[str, Any]
    ) -> Tensor:
        first = denoiser.predict_at(x, t, level, **cond, estimate=torch.zeros_like(x)).x0
        chosen = selected("self_conditioning", self.self_conditioning, draws, x.device)
        return torch.where(chosen.reshape(-1, *(1,) * (x.ndim - 1)), first, 0.0)


def selected(purpose: str, share: float, draws: KeyedRandom, device: torch.device) -> Tensor:
    """Return (B,), true for a fraction of the examples."""
    return (draws.uniform(purpose) < share).to(device, non_blocking=True)


def nested_modules(part: Any) -> Iterator[nn.Module]:
    """Yield the modules in the fields of a dataclass, such as StratifiedTimes(LossAwareTimes()), unseen by torch."""
    if is_dataclass(part):
        for value in (getattr(part, field.name) for field in fields(part)):
            yield from [value] if isinstance(value, nn.Module) else nested_modules(value)


def combine(a: Number, b: Number, x0: Tensor, eps: Tensor) -> Tensor:
    """Return a x0 + b eps, skipping products with 0 and 1."""
    if equals(a, 1.0) and equals(b, 0.0):
        return x0
    if equals(a, 0.0):
        return eps if equals(b, 1.0) else broadcast_like(b, eps) * eps
    return broadcast_like(a, x0) * x0 + broadcast_like(b, eps) * eps
