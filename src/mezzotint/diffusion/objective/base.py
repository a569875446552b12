"""The base of training objectives: their parts, their randomness and the dropout of conditions."""

import abc
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mezzotint.finite import Finite
from mezzotint.randomness import KeyedRandom

from ..conditions import dropped
from ..denoiser import Denoiser
from ..levels import broadcast_like
from ..scalar_ops import Number, equals
from .losses import Loss, SquaredErrorLoss
from .times import TimeDistribution, UniformTimes
from .training_noise import GaussianNoise, TrainingNoise
from .weights import ConstantWeight, LossWeight


class Annealed:
    """A part of an objective that changes in the course of training.

    Attributes:
        progress: the share of the training that is done, from 0 to 1.
    """

    progress: float = 0.0

    def anneal(self, progress: float) -> None:
        """Take the share of the training that is done."""
        self.progress = progress


class BaseObjective(nn.Module, metaclass=Finite):
    """A loss of each example of a batch. All random numbers come from keyed streams: "time", "noise", ...

    Args:
        times: the distribution of t.
        weight: the loss weight of each level.
        loss: the loss of one example.
        noise: the noise that is added to the data.
        label_dropout: fraction of examples whose label becomes -1, the null label, for classifier-free guidance.
        condition_dropout: for other conditions, by name, the fraction of examples in which it becomes its null, each
            independent of the others; "all" is the fraction that loses all conditions together, the label included.
    """

    def __init__(
        self,
        times: TimeDistribution | None,
        weight: LossWeight | None,
        loss: Loss | None,
        noise: TrainingNoise | None,
        label_dropout: float,
        condition_dropout: Mapping[str, float] | None,
    ):
        super().__init__()
        self.times = UniformTimes() if times is None else times
        self.weight = ConstantWeight() if weight is None else weight
        self.loss = SquaredErrorLoss() if loss is None else loss
        self.noise = GaussianNoise() if noise is None else noise
        rates = dict(condition_dropout or {})
        check_fractions({f"condition_dropout.{name}": rate for name, rate in rates.items()})
        check_fractions({"label_dropout": label_dropout})
        if "label" in rates:
            raise ValueError(f"condition_dropout={rates}: the label has its own rate, label_dropout.")
        self.label_dropout, self.condition_dropout = label_dropout, rates
        self.within = nn.ModuleList(
            part for name in ("times", "weight") for part in nested_modules(getattr(self, name))
        )

    @property
    def teachers(self) -> tuple[object, ...]:
        """The trained denoisers that the objective learns from; they are neither trained nor saved."""
        return ()

    @abc.abstractmethod
    def forward(self, denoiser: Denoiser, x0: Tensor, draws: KeyedRandom, **cond: Any) -> Tensor:
        """Return losses (B,) of clean x0 (B, C, H, W); conditions by name, such as label (B,) int64."""

    def check(self, denoiser: Denoiser) -> None:
        """Raise ValueError for a schedule or target that this objective is not defined for; none by default."""

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


def check_fractions(shares: Mapping[str, float]) -> None:
    """Raise ValueError unless every value is a fraction of the examples."""
    for name, share in shares.items():
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"{name}={share} is a fraction of the examples. Give a number from 0 to 1.")


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
