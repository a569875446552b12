"""Resampling of images by 2 with a finite impulse response filter, which does not alias as strided convolutions do."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mezzotint.networks.layers import AvgPool2x, Nearest2x


class FIR(nn.Module):
    """A separable filter, normalised to sum 1, in a buffer that is not saved."""

    kernel: Tensor

    def __init__(self, taps: Sequence[float]) -> None:
        super().__init__()
        line = torch.tensor(taps, dtype=torch.float32)
        self.padding = (len(taps) - 1) // 2
        self.register_buffer("kernel", line[:, None] * line / line.sum() ** 2, persistent=False)

    def tiled(self, x: Tensor) -> Tensor:
        """Return the filter for each channel of x, (C, 1, taps, taps)."""
        return self.kernel.to(x.dtype).expand(x.shape[1], 1, *self.kernel.shape)


class FIRDown2x(FIR):
    """Filtering, then every second pixel; [1, 1] is average pooling. `padding` is that of the image."""

    def forward(self, x: Tensor, padding: int | None = None) -> Tensor:
        padding = self.padding if padding is None else padding
        return functional.conv2d(x, self.tiled(x), stride=2, padding=padding, groups=x.shape[1])


class FIRUp2x(FIR):
    """Zeros between the pixels, then filtering, times 4; [1, 1] repeats the nearest pixel."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv_transpose2d(x, 4 * self.tiled(x), stride=2, padding=self.padding, groups=x.shape[1])


def halving(taps: Sequence[float]) -> nn.Module:
    """Return the layer that halves an image with a filter."""
    return AvgPool2x() if list(taps) == [1, 1] else FIRDown2x(taps)


def doubling(taps: Sequence[float]) -> nn.Module:
    """Return the layer that doubles an image with a filter."""
    return Nearest2x() if list(taps) == [1, 1] else FIRUp2x(taps)
