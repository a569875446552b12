"""Another image, or a series or volume, at the input."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from mezzotint.diffusion import is_null

from ..layers import POOLS
from .base import Channels, Condition

MODES = {1: "linear", 2: "bicubic", 3: "trilinear"}  # of interpolation, by the number of spatial dimensions


@dataclass(frozen=True)
class ImageCondition(Condition):
    """Another image of any channels and size, float32 (C, *size): a mask, a depth map, the last frame.

    It is resized to the size of x and concatenated with x; a stored uint8 image is scaled to [-1, 1]. The null is
    zeros, with a further channel that is 1 where there is an image, so that a grey image and no image differ.

    Source: Saharia et al. 2021 (SR3), section 2.2, https://arxiv.org/abs/2104.07636, with bicubic upsampling; the null
    as in Brooks et al. 2023, https://arxiv.org/abs/2211.09800

    Args:
        size: (C, *size) of the condition, with as many sizes as x has.
    """

    size: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", tuple(self.size))
        if not 2 <= len(self.size) <= 4 or any(side < 1 for side in self.size):
            raise ValueError(f"size={list(self.size)} is not (C, *size) of an image, such as [3, 8, 8].")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.size

    def numbers(self, stored: Tensor) -> Tensor:
        return stored.float() / 127.5 - 1.0 if stored.dtype == torch.uint8 else super().numbers(stored)

    def mirrored(self, values: Tensor) -> Tensor:
        return values.flip(-1)

    def as_channels(self, size: Sequence[int]) -> Channels:
        if len(size) != len(self.size) - 1:
            raise ValueError(f"size={list(self.size)} of a condition has not as many sizes as the data, {list(size)}.")
        return ImageInput(self.size[0], size)


@dataclass(frozen=True)
class LowResolution(Condition):
    """The example itself at a lower resolution, the mean over blocks: the condition of super-resolution.

    It is derived from each example, and enters a network as an `ImageCondition` does.

    Source: Saharia et al. 2021 (SR3), https://arxiv.org/abs/2104.07636

    Args:
        size: (C, *size), each side a divisor of that of the data.
    """

    size: tuple[int, ...]

    derived: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", ImageCondition(self.size).size)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.size

    def derive(self, x: Tensor) -> Tensor:
        sides = list(zip(x.shape[2:], self.size[1:], strict=True))
        if x.shape[1] != self.size[0] or any(side % small for side, small in sides):
            raise ValueError(
                f"size={list(self.size)} does not divide examples of shape {list(x.shape[1:])} into blocks"
            )
        return POOLS[len(sides)](x, [side // small for side, small in sides])

    def mirrored(self, values: Tensor) -> Tensor:
        return values.flip(-1)

    def as_channels(self, size: Sequence[int]) -> Channels:
        return ImageCondition(self.size).as_channels(size)


class ImageInput(Channels):
    """Resize an image and append a channel that is 1 where there is one: (B, C, *any) -> (B, C + 1, *size)."""

    def __init__(self, channels: int, size: Sequence[int]) -> None:
        super().__init__()
        self.channels, self.size = channels + 1, tuple(size)

    def forward(self, value: Tensor) -> Tensor:
        one = (-1, *(1,) * (value.ndim - 1))
        absent = is_null(value).flatten(1).any(1).reshape(one)
        image = enlarged(torch.where(absent, 0.0, value), self.size)
        flag = (~absent).to(image.dtype).expand(-1, 1, *self.size)
        return torch.cat([image, flag], dim=1)


def enlarged(image: Tensor, size: Sequence[int]) -> Tensor:
    """Return (B, C, *any) resized to (B, C, *size): bicubically in two dimensions, linearly in one and three."""
    if tuple(image.shape[2:]) == tuple(size):
        return image
    return functional.interpolate(image, tuple(size), mode=MODES[len(size)], align_corners=False)
