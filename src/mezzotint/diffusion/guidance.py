"""Guidance: denoisers that wrap denoisers.

Each is frozen. `begin` starts a trajectory: it passes the word to what is inside, and what remembers something from
call to call keeps it only in the object that `begin` returns. The null label is -1: a network maps it to its
"no label" embedding.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .denoiser import Denoise
from .levels import NoiseLevel
from .prediction import Prediction
from .schedules import Schedule

NULL = -1


@dataclass(frozen=True)
class Guidance(abc.ABC):
    """A denoiser around another: the same schedule, and `begin` handed down."""

    inner: Denoise

    @property
    def schedule(self) -> Schedule:
        return self.inner.schedule

    def begin(self) -> Denoise:
        return replace(self, inner=self.inner.begin())

    @abc.abstractmethod
    def __call__(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction: ...


def unguided(inner: Denoise) -> Denoise:
    """The denoiser as it is: the choice `guidance=none`."""
    return inner


@dataclass(frozen=True)
class CFG(Guidance):
    """Classifier-free guidance: D = D_null + w (D_label - D_null), in one call of twice the batch.

    Every prediction is x and one linear functional, so the choice of eps, x0 or v does not matter. w = 0 is exactly
    the unconditional and w = 1 exactly the conditional denoiser, each with one call of the batch itself; Ho and
    Salimans's own w is this one minus 1.

    Source: Ho and Salimans 2022, eq. 6, https://arxiv.org/abs/2207.12598

    Args:
        scale: w.
    """

    scale: float = 1.0

    def __call__(self, x: Tensor, level: NoiseLevel, *, label: Tensor | None = None, **cond: Any) -> Prediction:
        if label is None:
            raise ValueError(
                "Classifier-free guidance needs a label to guide towards. Pass label=, or use no guidance."
            )
        if self.scale == 1.0:
            return self.inner(x, level, label=label, **cond)
        if self.scale == 0.0:
            return self.inner(x, level, label=torch.full_like(label, NULL), **cond)
        null, labelled = both(self.inner, x, level, label, cond)
        return null.lerp(labelled, self.scale)


def both(
    inner: Denoise, x: Tensor, level: NoiseLevel, label: Tensor, cond: dict[str, Any]
) -> tuple[Prediction, Prediction]:
    """(without label, with label) in one call; other conditioning of the batch's length is given to both halves."""
    n = len(x)
    twice = {
        name: torch.cat([value, value]) if isinstance(value, Tensor) and value.ndim and len(value) == n else value
        for name, value in cond.items()
    }
    labels = torch.cat([torch.full_like(label, NULL), label])
    null, labelled = inner(torch.cat([x, x]), level, label=labels, **twice).chunk(2)
    return null, labelled


@dataclass(frozen=True)
class Clip(Guidance):
    """x0 clipped to the range of the data; eps is rebuilt from it, so that x = alpha x0 + sigma eps still holds.

    Source: Ho et al. 2020, reference implementation (eps rebuilt as in Nichol and Dhariwal 2021)
    """

    low: float = -1.0
    high: float = 1.0

    def __call__(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction:
        pred = self.inner(x, level, **cond)
        return pred.with_x0(pred.x0.clamp(self.low, self.high))
