"""Learning-rate schedules: the factor of the highest rate, after the warm-up, as a function of images seen."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from mezzotint.finite import Finite


class LRSchedule(metaclass=Finite):
    """Base of learning-rate schedules. The optimizer multiplies the factor by `lr` and by its own warm-up."""

    @abstractmethod
    def factor(self, images: int, budget: int) -> float:
        """Factor of the step that follows `images` images, in [0, 1]."""


@dataclass(frozen=True)
class ConstantLR(LRSchedule):
    """Factor 1."""

    def factor(self, images: int, budget: int) -> float:
        return 1.0


@dataclass(frozen=True)
class LinearLR(LRSchedule):
    """Factor 1 - n / budget."""

    def factor(self, images: int, budget: int) -> float:
        return 1 - min(1.0, images / budget)


@dataclass(frozen=True)
class CosineLR(LRSchedule):
    """Factor (1 + cos(pi n / budget)) / 2. Source: Loshchilov and Hutter 2017, eq. 5, https://arxiv.org/abs/1608.03983"""

    def factor(self, images: int, budget: int) -> float:
        return (1 + math.cos(math.pi * min(1.0, images / budget))) / 2


@dataclass(frozen=True)
class InverseSqrtLR(LRSchedule):
    """Factor 1 / sqrt(max(n / images, 1)), which does not depend on the budget.

    Source: Karras et al. 2024, eq. 67, https://arxiv.org/abs/2312.02696, t_ref batches being `images`.

    Args:
        images: seen when the decay begins; 70,000 batches of 2,048 for EDM2-S on ImageNet-512.
    """

    images: int
    positive: ClassVar[tuple[str, ...]] = ("images",)

    def factor(self, images: int, budget: int) -> float:
        return 1 / math.sqrt(max(images / self.images, 1.0))


@dataclass(frozen=True)
class WarmupStableDecayLR(LRSchedule):
    """Factor 1 until the cool-down, which ends with the budget.

    Before the cool-down the factor does not depend on the budget, so that a run that is resumed from any checkpoint of
    its plateau with another budget is bit for bit the run that was planned with that budget.
    Source: Hu et al. 2024, section 4, https://arxiv.org/abs/2404.06395; the shapes: Haegele et al. 2024,
    https://arxiv.org/abs/2405.18392

    Args:
        cooldown: images, or below 1 the share of the budget.
        shape: with s from 0 to 1 over the cool-down 1 - s (linear), 1 - sqrt(s) (sqrt) or (1 + cos(pi s)) / 2 (cosine).
    """

    cooldown: float = 0.2
    shape: Literal["linear", "sqrt", "cosine"] = "sqrt"
    positive: ClassVar[tuple[str, ...]] = ("cooldown",)

    def factor(self, images: int, budget: int) -> float:
        length = self.cooldown * budget if self.cooldown < 1 else min(self.cooldown, budget)
        share = min(1.0, max(0.0, 1 - (budget - images) / length))
        return {"linear": 1 - share, "sqrt": 1 - math.sqrt(share), "cosine": (1 + math.cos(math.pi * share)) / 2}[
            self.shape
        ]


DECAYS: dict[str, LRSchedule] = {"linear": LinearLR(), "cosine": CosineLR(), "constant": ConstantLR()}
