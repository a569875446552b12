"""Another image, or a series or volume, at the input."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from mezzotint.diffusion import is_null

from .base import Channels, Condition

MODES = {1: "linear", 2: "bicubic", 3: "trilinear"}  # of interpolation, by the number of spatial dimensions


@dataclass(frozen=True)
class ImageCondition(Condition):
    """Another image of any channels and size, float32 (C, *size): a small one, a mask, a depth map, the last frame.

    It is resized to the size of x and concatenated with x. The null is zeros, with a further channel that is 1 where
    there is an image, so that a grey image and no image differ.

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

    def as_channels(self, size: Sequence[int]) -> Channels:
        if len(size) != len(self.size) - 1:
            raise ValueError(f"size={list(self.size)} of a condition has not as many sizes as the data, {list(size)}.")
        return ImageInput(self.size[0], size)


class ImageInput(Channels):
    """Resize an image and append a channel that is 1 where there is one: (B, C, *any) -> (B, C + 1, *size)."""

    def __init__(self, channels: int, size: Sequence[int]) -> None:
        super().__init__()
        self.channels, self.size = channels + 1, tuple(size)

    def forward(self, value: Tensor) -> Tensor:
        one = (-1, *(1,) * (value.ndim - 1))
        absent = is_null(value).flatten(1).any(1).reshape(one)
        image = torch.where(absent, 0.0, value)
        if tuple(image.shape[2:]) != self.size:
            image = functional.interpolate(image, self.size, mode=MODES[len(self.size)], align_corners=False)
        flag = (~absent).to(image.dtype).expand(-1, 1, *self.size)
        return torch.cat([image, flag], dim=1)
