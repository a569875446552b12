"""The codec of 8-bit data: images, and any other grid of 0..255."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mezzotint.data.codecs.base import Bounds, Codec
from mezzotint.data.scaling import PixelScaling

MOST_CHANNELS = 4  # of an image file


@dataclass(frozen=True)
class PixelCodec(Codec):
    """uint8 mapped linearly to [low, high]; decoding rounds to the nearest value and clamps.

    Args:
        low: the value of pixel 0.
        high: the value of pixel 255.
    """

    low: float = -1.0
    high: float = 1.0

    levels: ClassVar[int | None] = 256

    def __post_init__(self) -> None:
        _ = self.scaling

    @property
    def scaling(self) -> PixelScaling:
        """The linear map."""
        return PixelScaling(self.low, self.high)

    @property
    def dtype(self) -> torch.dtype:
        return torch.uint8

    @property
    def format(self) -> str:
        return "uint8, rounded, uncompressed"

    @property
    def bounds(self) -> Bounds:
        return self.low, self.high

    def encode(self, stored: Tensor) -> Tensor:
        return self.scaling.to_float(stored)

    def decode(self, x: Tensor) -> Tensor:
        return self.scaling.to_uint8(x)

    def is_image(self, stored: Sequence[int]) -> bool:
        return len(stored) == 3 and stored[0] <= MOST_CHANNELS
