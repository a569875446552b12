"""What a denoiser around a denoiser is, and how several are chained."""

from __future__ import annotations

import abc
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..denoiser import Denoise
from ..levels import NoiseLevel
from ..prediction import Prediction
from ..schedules import Schedule


@dataclass(frozen=True)
class Guidance(abc.ABC):
    """A denoiser around another: the same schedule, and `begin` handed down.

    Args:
        inner: what is guided; None only until `chain` puts it around something.
    """

    inner: Denoise = None  # type: ignore[assignment]

    @property
    def schedule(self) -> Schedule:
        return self.inner.schedule

    def begin(self) -> Denoise:
        return replace(self, inner=self.inner.begin())

    @abc.abstractmethod
    def __call__(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction: ...


def place(denoise: Denoise, device: torch.device | str) -> None:
    """Move the networks that guidance holds beside the guided one to a device, however it is chained."""
    if isinstance(denoise, Guidance):
        for part in vars(denoise).values():
            if isinstance(part, nn.Module):
                part.to(device)
            else:
                place(part, device)


def unguided(inner: Denoise) -> Denoise:
    """The denoiser as it is: the choice `guidance=none`."""
    return inner


def chain(inner: Denoise, parts: list[Guidance]) -> Denoise:
    """The denoiser in several wrappers, first one innermost: chain(d, [CFG(scale=2), Clip()]) is Clip(CFG(d, 2))."""
    for part in parts:
        inner = replace(part, inner=inner)
    return inner
