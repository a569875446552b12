"""The codec of measured quantities: zero mean and unit deviation in every channel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mezzotint.data.codecs.base import Bounds, Codec, refuse_nonfinite
from mezzotint.devices import finest_dtype
from mezzotint.errors import ConfigError, DataError

TAIL = 4.0  # deviations from the mean that samples reach
Stored = Literal["float32", "float16", "uint8", "uint16", "int16"]


@dataclass(frozen=True)
class StandardizeCodec(Codec):
    """x = (value - mean) / std in each channel; decoding inverts it, and clips only data that are bounded.

    A value comes back within one unit in the last place of the larger of the value and its distance from the mean.
    Integers are rounded, and clamped to what their type can hold.

    Args:
        mean, std: of each channel, in the unit of the data; std above 0.
        stored: type of the stored numbers.
        low, high: bounds of the data, in their unit; samples are clipped to them.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    stored: Stored = "float32"
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(self.mean))
        object.__setattr__(self, "std", tuple(self.std))
        if not self.mean or len(self.mean) != len(self.std):
            raise ConfigError(
                f"mean has {len(self.mean)} numbers and std {len(self.std)}: give one of each to every channel."
            )
        if any(value <= 0 for value in self.std):
            raise ConfigError(f"std={list(self.std)}: every deviation must be above 0.")
        if (self.low is None) != (self.high is None):
            raise ConfigError(f"low={self.low}, high={self.high}: give both bounds, or neither.")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ConfigError(f"low={self.low:g}, high={self.high:g}: low must be below high.")
        reach = max(abs(mean) + TAIL * std for mean, std in zip(self.mean, self.std, strict=True))
        if self.dtype.is_floating_point and self.low is None and reach > torch.finfo(self.dtype).max:
            raise ConfigError(
                f"{TAIL:g} deviations from the mean reach {reach:.3g}, and {self.stored} ends at "
                f"{torch.finfo(self.dtype).max:.5g}, so samples would not fit: store the data as a wider type, scale "
                "them, or give codec.low and codec.high."
            )

    @property
    def dtype(self) -> torch.dtype:
        return getattr(torch, self.stored)

    @property
    def bounds(self) -> Bounds | None:
        if self.low is None or self.high is None:
            return None
        lowest = min((self.low - m) / s for m, s in zip(self.mean, self.std, strict=True))
        return lowest, max((self.high - m) / s for m, s in zip(self.mean, self.std, strict=True))

    @property
    def format(self) -> str:
        return f"{self.stored}, {'' if self.dtype.is_floating_point else 'rounded, '}uncompressed"

    def shape(self, stored: Sequence[int]) -> tuple[int, ...]:
        if stored[0] != len(self.mean):
            raise ConfigError(
                f"the codec has mean and std of {len(self.mean)} channels, and the data have {stored[0]}: "
                f"give {stored[0]} numbers, or leave both out to measure them."
            )
        return tuple(stored)

    def encode(self, stored: Tensor) -> Tensor:
        self.refuse_type(stored)
        mean, std = self._moments(stored)
        return stored.to(mean.dtype).sub_(mean).div_(std).float()

    def decode(self, x: Tensor) -> Tensor:
        if not x.is_floating_point():
            raise DataError(f"StandardizeCodec decodes floating-point numbers, and was given {x.dtype}.")
        refuse_nonfinite(x, "cannot be data")
        mean, std = self._moments(x)
        values = x.to(mean.dtype).mul_(std).add_(mean)
        if self.low is not None:
            values.clamp_(self.low, self.high)
        if not self.dtype.is_floating_point:
            limits = torch.iinfo(self.dtype)
            return values.round_().clamp_(limits.min, limits.max).to(self.dtype)
        found = values.to(self.dtype)
        if bad := int((~torch.isfinite(found)).sum()):
            raise DataError(
                f"{bad} of {found.numel()} samples' values do not fit {self.stored}, which ends at "
                f"{torch.finfo(self.dtype).max:g}: store the data as float32, or give codec.low and codec.high."
            )
        return found

    def _moments(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and std that broadcast over (B, C, *size): float64, or float32 on Apple's GPUs, which have no other."""
        dtype = finest_dtype(values.device)
        form = (-1, *[1] * (values.dim() - 2))
        here = (torch.tensor(one, dtype=dtype).view(form) for one in (self.mean, self.std))
        mean, std = (one.to(values.device, non_blocking=True) for one in here)
        return mean, std
