"""The guidance interface, and chaining of several guidance methods."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mezzotint.finite import Finite

from ..denoiser import Denoise
from ..levels import NoiseLevel
from ..prediction import Prediction
from ..schedules.continuous import Schedule


def is_denoiser(value: Any) -> bool:
    """Return whether a value is a denoiser rather than a setting: only denoisers have `begin`."""
    return callable(getattr(value, "begin", None))


class _Wrapper(Finite):
    """Metaclass of guidance: a denoiser as the first argument is the one to guide; other positions are settings.

    CFG(denoise, 3.0) and CFG(3.0) both have scale 3; the second is for `chain`. None in front means no denoiser.
    """

    if not TYPE_CHECKING:  # keep the constructors' types for type checkers

        def __call__(cls, *args: Any, **settings: Any) -> Any:
            if args and (args[0] is None or is_denoiser(args[0])):
                return super().__call__(*args[1:], inner=args[0], **settings)
            return super().__call__(*args, **settings)


@dataclass(frozen=True)
class Guidance(metaclass=_Wrapper):
    """A denoiser that wraps another one: it has its schedule and forwards `begin`.

    Args:
        inner: the denoiser to guide, by name or before the settings; None until `chain` sets it.
    """

    inner: Denoise = field(default=None, kw_only=True)  # type: ignore[assignment]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__call__" in vars(cls):
            cls.__call__ = _checked(cls.__call__)

    @property
    def schedule(self) -> Schedule:
        return self._wrapped().schedule

    def begin(self) -> Denoise:
        return replace(self, inner=self._wrapped().begin())

    def _wrapped(self) -> Denoise:
        if self.inner is None:
            name = type(self).__name__
            raise ValueError(
                f"{name} wraps no denoiser. Use chain(denoise, [{name}(...)]), or give the denoiser first."
            )
        return self.inner

    @abc.abstractmethod
    def __call__(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction: ...


def _checked(call: Callable[..., Prediction]) -> Callable[..., Prediction]:
    """Return the call of a guidance class so that it raises ValueError where it wraps no denoiser."""

    @wraps(call)
    def checked(self: Guidance, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction:
        self._wrapped()
        return call(self, x, level, **cond)

    return checked


def move_to(denoise: Denoise, device: torch.device | str) -> None:
    """Move the networks of all guidance in a chain, such as a weak denoiser or classifier, to a device."""
    if isinstance(denoise, Guidance):
        for part in vars(denoise).values():
            if isinstance(part, nn.Module):
                part.to(device)
            else:
                move_to(part, device)


def no_guidance(inner: Denoise) -> Denoise:
    """Return the denoiser unchanged: the choice `guidance=none`."""
    return inner


def chain(inner: Denoise, parts: list[Guidance]) -> Denoise:
    """Wrap a denoiser in guidance, the first part innermost: chain(d, [CFG(2.0), Clip()]) is Clip(CFG(d, 2.0)).

    Raises:
        ValueError: a part already wraps a denoiser, which would be lost.
        TypeError: `inner` is no denoiser, or a part no guidance.
    """
    if not is_denoiser(inner):
        raise TypeError(f"chain({inner!r}, ...): give a denoiser first, such as Denoiser(network, schedule, target).")
    for part in parts:
        if not isinstance(part, Guidance):
            raise TypeError(f"chain(..., [{part!r}]): give guidance, such as CFG(3.0) or Clip().")
        if part.inner is not None:
            raise ValueError(f"{type(part).__name__} already wraps a denoiser. Give chain guidance without one.")
        inner = replace(part, inner=inner)
    return inner
