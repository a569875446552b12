"""What a denoiser around a denoiser is, and how several are chained."""

from __future__ import annotations

import abc
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mezzotint.instantiate.finite import Finite

from ..denoiser import Denoise
from ..levels import NoiseLevel
from ..prediction import Prediction
from ..schedules.continuous import Schedule


def is_denoiser(value: Any) -> bool:
    """Whether a value can be guided: what has `begin`, as no setting does."""
    return callable(getattr(value, "begin", None))


class _Wrapper(Finite):
    """Calls of guidance classes: a denoiser in front is what is guided, and all else by position are settings.

    CFG(denoise, 3.0) and CFG(3.0) both have scale 3; the second is for `chain`. None in front is no denoiser yet.
    """

    if not TYPE_CHECKING:  # calls keep the types of their classes

        def __call__(cls, *args: Any, **settings: Any) -> Any:
            if args and (args[0] is None or is_denoiser(args[0])):
                return super().__call__(*args[1:], inner=args[0], **settings)
            return super().__call__(*args, **settings)


@dataclass(frozen=True)
class Guidance(metaclass=_Wrapper):
    """A denoiser around another: the same schedule, and `begin` handed down.

    Args:
        inner: what is guided, by name or in front of the settings; None until `chain` puts it around something.
    """

    inner: Denoise = field(default=None, kw_only=True)  # type: ignore[assignment]

    @property
    def schedule(self) -> Schedule:
        return self._inside().schedule

    def begin(self) -> Denoise:
        return replace(self, inner=self._inside().begin())

    def _inside(self) -> Denoise:
        if self.inner is None:
            name = type(self).__name__
            raise ValueError(f"{name} is around no denoiser: chain(denoise, [{name}(...)]) puts it around one.")
        return self.inner

    @abc.abstractmethod
    def __call__(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction: ...


def move_to(denoise: Denoise, device: torch.device | str) -> None:
    """Move the networks that guidance holds beside the guided one to a device, however it is chained."""
    if isinstance(denoise, Guidance):
        for part in vars(denoise).values():
            if isinstance(part, nn.Module):
                part.to(device)
            else:
                move_to(part, device)


def no_guidance(inner: Denoise) -> Denoise:
    """The denoiser as it is: the choice `guidance=none`."""
    return inner


def chain(inner: Denoise, parts: list[Guidance]) -> Denoise:
    """The denoiser in several wrappers, first one innermost: chain(d, [CFG(2.0), Clip()]) is Clip(CFG(d, 2.0)).

    Raises:
        ValueError: a part is already around a denoiser, which would be lost.
    """
    for part in parts:
        if part.inner is not None:
            raise ValueError(f"{type(part).__name__} is already around a denoiser. Give chain its settings alone.")
        inner = replace(part, inner=inner)
    return inner
