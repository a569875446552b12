"""3 x 3 convolutions with 2.25 times fewer multiplications, for training on a CPU."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional

CHANNELS = 64  # Winograd is faster from this many input and output channels, and
PRODUCTS = 2**24  # from this many tiles x inputs x outputs
FACTORS = 2**21  # elements per chunk: 8 MB stay in the cache


class Conv3x3(nn.Conv2d):
    """A 3 x 3 convolution that keeps height and width: (B, C, H, W) -> (B, outputs, H, W).

    Training uses `Winograd`, equal up to rounding, where it is faster: with many channels in float32 on a CPU with
    AVX2, where DDPM's CIFAR-10 network trains 1.2 to 1.3 times as fast. Evaluation mode and code without gradients
    always use PyTorch's convolution, so that a sampled image does not depend on the batch size.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        if self.training and winograd_is_faster(input, self.weight):
            return Winograd.apply(input, self.weight, self.bias)
        return super().forward(input)


def winograd_is_faster(x: Tensor, weight: Tensor) -> bool:
    """Return whether `Winograd` is supported and faster."""
    outputs, inputs = weight.shape[:2]
    batch, _, height, width = x.shape
    return (
        not torch.compiler.is_compiling()
        and type(x) is Tensor  # many small operations are slow on fake tensors
        and torch.is_grad_enabled()
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.cpu.get_cpu_capability() == "AVX2"  # where it was measured
        and height % 2 == width % 2 == 0
        and min(inputs, outputs) >= CHANNELS
        and batch * height * width // 4 * inputs * outputs >= PRODUCTS
        and not torch._C._are_functorch_transforms_active()
    )


class Winograd(torch.autograd.Function):
    """`conv2d(x, weight, bias, padding=1)` by Winograd's F(2 x 2, 3 x 3).

    Two adjacent outputs of a row depend on four pixels and take four products, where direct sums take six:

        y0 = (a - c) g0 + (b + c) (g0 + g1 + g2) / 2 + (c - b) (g0 - g1 + g2) / 2
        y1 = (b + c) (g0 + g1 + g2) / 2 - (c - b) (g0 - g1 + g2) / 2 - (b - d) g2

    Over rows and columns, 2 x 2 pixels take 16 products instead of 36: 16 matrix products, tiles by channels. The
    backward pass applies the adjoint of each step.

    Source: Lavin and Gray 2016, https://arxiv.org/abs/1509.09308, section 4.1.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        kernel = factors_of_weight(weight).transpose(1, 2)
        y = torch.empty(len(x), len(weight), *x.shape[2:], dtype=x.dtype, memory_format=memory_format_of(x))
        size = chunk_size(x, weight)
        for images, result in zip(x.split(size), y.split(size), strict=True):
            write_pixels(factors(images) @ kernel, result)
        return y.add_(bias[:, None, None])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        (gradient,), (x, weight) = gradients, ctx.saved_tensors
        if torch.is_grad_enabled():  # double backward
            one, no = [1, 1], [0, 0]
            return torch.ops.aten.convolution_backward(
                gradient, x, weight, [len(weight)], one, one, one, False, no, 1, [True] * 3
            )
        kernel = factors_of_weight(weight)
        of_kernel, of_x = torch.zeros_like(kernel), torch.empty_like(x)
        size = chunk_size(x, weight)
        for images, received, result in zip(x.split(size), gradient.split(size), of_x.split(size), strict=True):
            products = write_pixels_adjoint(received)
            of_kernel.baddbmm_(products.transpose(1, 2), factors(images))
            factors_adjoint(products @ kernel, result)
        return of_x, factors_of_weight_adjoint(of_kernel).view_as(weight), gradient.sum((0, 2, 3))


def chunk_size(x: Tensor, weight: Tensor) -> int:
    """Return the number of images per chunk."""
    return max(1, FACTORS // (4 * x[0, 0].numel() * max(weight.shape[:2])))


def memory_format_of(x: Tensor) -> torch.memory_format:
    """Return the memory format of x, for a result."""
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def weight_matrix(like: Tensor) -> Tensor:
    """Return the map from the 9 weights of a kernel to its 16 factors, (16, 9)."""
    row = like.new_tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    return torch.kron(row, row)


def factors_of_weight(weight: Tensor) -> Tensor:
    """Transform a kernel: (outputs, inputs, 3, 3) -> (16, outputs, inputs)."""
    return (weight_matrix(weight) @ weight.reshape(-1, 9).T).unflatten(1, weight.shape[:2])


def factors_of_weight_adjoint(factors: Tensor) -> Tensor:
    """The adjoint of `factors_of_weight`: (16, outputs, inputs) -> (outputs inputs, 9)."""
    return factors.flatten(1).T @ weight_matrix(factors)


def factors(x: Tensor) -> Tensor:
    """Transform the input: (B, C, H, W) -> (16, tiles, C)."""
    batch, channels, height, width = x.shape
    pixels = padded_channels_last(x)
    rows = x.new_empty(4, batch, height // 2, width + 2, channels)
    differences(pixels.unfold(1, 4, 2), rows.unbind(0))
    both = x.new_empty(4, 4, batch, height // 2, width // 2, channels)
    differences(rows.unfold(3, 4, 2), both.unbind(1))
    return both.view(16, -1, channels)


def factors_adjoint(factors: Tensor, x: Tensor) -> None:
    """The adjoint of `factors`: write (16, tiles, C) to x (B, C, H, W)."""
    batch, channels, height, width = x.shape
    both = factors.view(4, 4, batch, height // 2, width // 2, channels)
    rows = x.new_empty(4, batch, height // 2, width + 2, channels)
    differences_adjoint(both.unbind(1), rows, 3)
    pixels = unaligned(batch, height + 2, width + 2, channels, like=x)
    differences_adjoint(rows.unbind(0), pixels, 1)
    x.copy_(pixels[:, 1:-1, 1:-1].permute(0, 3, 1, 2))


def write_pixels(products: Tensor, y: Tensor) -> None:
    """Transform the products (16, tiles, C) to the output and write it to y (B, C, H, W)."""
    batch, channels, height, width = y.shape
    both = products.view(4, 4, batch, height // 2, width // 2, channels)
    rows = y.new_empty(2, 4, batch, height // 2, width // 2, channels)
    sums(both.unbind(0), rows.unbind(0))
    pixels = unaligned(batch, height, width, channels, like=y)
    sums(rows.unbind(1), pixels.unfold(1, 2, 2).unfold(2, 2, 2).permute(4, 5, 0, 1, 2, 3).unbind(1))
    y.copy_(pixels.permute(0, 3, 1, 2))


def write_pixels_adjoint(y: Tensor) -> Tensor:
    """The adjoint of `write_pixels`: (B, C, H, W) -> (16, tiles, C)."""
    batch, channels, height, width = y.shape
    pixels = padded_channels_last(y)[:, 1:-1, 1:-1]
    columns = y.new_empty(4, batch, height, width // 2, channels)
    sums_adjoint(pixels.unfold(2, 2, 2), columns.unbind(0))
    both = y.new_empty(4, 4, batch, height // 2, width // 2, channels)
    sums_adjoint(columns.unfold(2, 2, 2), both.unbind(0))
    return both.view(16, -1, channels)


def differences(windows: Tensor, out: Sequence[Tensor]) -> None:
    """Write the four factors of the four pixels (a, b, c, d) in the last dimension to `out`."""
    a, b, c, d = windows.unbind(-1)
    torch.sub(a, c, out=out[0])
    torch.add(b, c, out=out[1])
    torch.sub(c, b, out=out[2])
    torch.sub(b, d, out=out[3])


def differences_adjoint(factors: Sequence[Tensor], pixels: Tensor, dimension: int) -> None:
    """The adjoint of `differences` along a dimension; windows overlap by two pixels, whose values are summed."""
    first, second, third, fourth = factors
    a, b, c, d = pixels.unfold(dimension, 4, 2).unbind(-1)
    pixels.narrow(dimension, -2, 2).zero_()  # the last two pixels are in no a and no b
    a.copy_(first)
    torch.sub(second, third, out=b).add_(fourth)
    c.add_(second).add_(third).sub_(first)
    d.sub_(fourth)


def sums(products: Sequence[Tensor], out: Sequence[Tensor]) -> None:
    """Write two adjacent outputs of four products to `out`."""
    first, second, third, fourth = products
    torch.add(first, second, out=out[0]).add_(third)
    torch.sub(second, third, out=out[1]).sub_(fourth)


def sums_adjoint(pairs: Tensor, out: Sequence[Tensor]) -> None:
    """The adjoint of `sums`, from two adjacent values in the last dimension."""
    even, odd = pairs.unbind(-1)
    out[0].copy_(even)
    torch.add(even, odd, out=out[1])
    torch.sub(even, odd, out=out[2])
    torch.neg(odd, out=out[3])


def padded_channels_last(x: Tensor) -> Tensor:
    """Zero-pad and permute: (B, C, H, W) -> (B, H + 2, W + 2, C). Padding comes first: see `unaligned`."""
    return functional.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1).contiguous()


def unaligned(batch: int, height: int, width: int, channels: int, like: Tensor) -> Tensor:
    """Return an uninitialised tensor (B, H, W, C) with a pixel stride just above a power of two.

    With a power of two, consecutive pixels map to a few cache lines, and permuting takes four times as long.
    """
    return like.new_empty(batch, height, width, channels + 8)[..., :channels]
