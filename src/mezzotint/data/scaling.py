"""Conversion between uint8 pixels and the network's range.

This is the only conversion in the project; data, figures, metrics and samplers all use it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.errors import ConfigError, DataError
from mezzotint.finite import Finite


@dataclass(frozen=True)
class PixelScaling(metaclass=Finite):
    """Pixels 0..255 mapped linearly to [low, high]: x = u / 255 * (high - low) + low.

    Args:
        low: the value of pixel 0.
        high: the value of pixel 255.
    """

    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ConfigError(f"PixelScaling(low={self.low}, high={self.high}) is empty: low must be below high.")

    @property
    def _unit(self) -> float:
        """Pixel values per unit of x: 127.5 on [-1, 1]."""
        return 255 / (self.high - self.low)

    def to_float(self, pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Convert uint8 of any shape to [low, high]; both ends are exact."""
        if pixels.dtype != torch.uint8:
            raise DataError(f"to_float takes uint8 pixels 0..255, got {pixels.dtype}: these are converted already.")
        return pixels.to(dtype).div_(self._unit).add_(self.low)

    def to_uint8(self, x: Tensor) -> Tensor:
        """Convert floats of any shape to the nearest uint8; values outside [low, high] are clamped.

        Raises:
            DataError: x contains NaN or infinity.
        """
        if not x.is_floating_point():
            raise DataError(f"to_uint8 takes floating-point numbers in [{self.low:g}, {self.high:g}], got {x.dtype}.")
        if bad := int((~torch.isfinite(x)).sum()):
            raise DataError(
                f"{bad} of {x.numel()} values are NaN or infinite and have no pixel value: "
                "the model diverged, or the sampler ran outside the precision of its numbers."
            )
        x = x if x.dtype == torch.float64 else x.float()  # half precision cannot hold 256 steps evenly
        return x.sub(self.low).mul_(self._unit).round_().clamp_(0, 255).to(torch.uint8)
