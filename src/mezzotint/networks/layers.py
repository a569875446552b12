"""U-Net layers in 1, 2 and 3 dimensions: normalisation, conditioning, residual blocks, downsampling and upsampling.

`rank` is the number of spatial dimensions of the data, x (B, C, *size). The 3 x 3 convolutions of images have faster
kernels on CPUs.
"""

from typing import Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn
from torch.nn import functional

from mezzotint.networks.cpu import Conv3x3, UpsampleConv3x3

Layer = TypeVar("Layer", bound=nn.Module)
Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d


@runtime_checkable
class Constrained(Protocol):
    """A layer whose weights are brought back to a set, such as those of unit norm, after each training step."""

    def constrain(self) -> None: ...


def group_norm(channels: int, groups: int, eps: float = 1e-5) -> nn.GroupNorm:
    """Return a GroupNorm with as many groups as possible, at most `groups`, of equal size of at least four."""
    limit = max(1, min(groups, channels // 4))
    return nn.GroupNorm(next(n for n in range(limit, 0, -1) if channels % n == 0), channels, eps)


def zero(layer: Layer) -> Layer:
    """Zero all parameters of a layer and return it."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}  # by rank
POOLS = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


def convolution(rank: int, inputs: int, outputs: int, taps: int, stride: int = 1, bias: bool = True) -> Convolution:
    """Return a convolution with `taps` (odd) weights along each dimension, padded so that stride 1 keeps the size."""
    return CONVOLUTIONS[rank](inputs, outputs, taps, stride=stride, padding=taps // 2, bias=bias)


def three_taps(rank: int, inputs: int, outputs: int) -> Convolution:
    """Return a convolution with three weights along each dimension that keeps the size."""
    return Conv3x3(inputs, outputs) if rank == 2 else convolution(rank, inputs, outputs, 3)


def scaled(x: Tensor, factor: float) -> Tensor:
    """Return x times a factor, and x itself where that is 1."""
    return x if factor == 1.0 else x * factor


def per_channel(embedding: Tensor, h: Tensor) -> Tensor:
    """Return an embedding (B, C) in a shape that broadcasts over the positions of h (B, C, *size)."""
    return embedding.reshape(*embedding.shape, *(1,) * (h.ndim - 2))


class Shift(nn.Module):
    """norm(h + b(embedding)), the conditioning of DDPM. Source: Ho, Jain and Abbeel 2020, appendix B."""

    def __init__(self, channels: int, embedding: int, groups: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.norm = group_norm(channels, groups, eps)
        self.linear = nn.Linear(embedding, channels)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        return self.norm(h + per_channel(self.linear(embedding), h))


class ScaleShift(nn.Module):
    """(1 + s(embedding)) norm(h) + b(embedding), as in ADM. Source: Dhariwal and Nichol 2021, section 3.1."""

    def __init__(self, channels: int, embedding: int, groups: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.norm = group_norm(channels, groups, eps)
        self.linear = nn.Linear(embedding, 2 * channels)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = per_channel(self.linear(embedding), h).chunk(2, dim=1)
        return self.norm(h) * (1 + scale) + shift


class AvgPool2x(nn.Module):
    """Average pooling by 2 along each spatial dimension."""

    def forward(self, x: Tensor) -> Tensor:
        return POOLS[x.ndim - 2](x, 2)


class Nearest2x(nn.Module):
    """Nearest-neighbour upsampling by 2 along each spatial dimension."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, scale_factor=2.0, mode="nearest")


class ResidualBlock(nn.Module):
    """shortcut(x) + conv(silu(condition(conv(silu(norm(x))), embedding))).

    The second convolution is initialised to zero, so that the block starts as its shortcut and deep stacks train well.
    With `resample` (AvgPool2x or Nearest2x) both branches are resampled before the first convolution, as in ADM.
    `scale` multiplies the sum; with `project` the shortcut is a 1 x 1 convolution between equal channels as well.

    Source: Ho, Jain and Abbeel 2020, appendix B; Dhariwal and Nichol 2021, section 3; Song et al. 2021, appendix H.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        condition: nn.Module,  # (h, embedding) -> h, normalised
        groups: int,
        dropout: float = 0.0,
        resample: nn.Module | None = None,
        rank: int = 2,
        scale: float = 1.0,
        project: bool = False,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.norm = group_norm(inputs, groups, eps)
        self.resample = resample or nn.Identity()
        self.first = three_taps(rank, inputs, outputs)
        self.condition = condition
        self.dropout = nn.Dropout(dropout)
        self.second = zero(three_taps(rank, outputs, outputs))
        changes = project or inputs != outputs
        self.shortcut = convolution(rank, inputs, outputs, 1) if changes else nn.Identity()
        self.scale = scale

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.first(self.resample(functional.silu(self.norm(x))))
        h = functional.silu(self.condition(h, embedding))
        return scaled(self.shortcut(self.resample(x)) + self.second(self.dropout(h)), self.scale)


class Downsample(nn.Module):
    """Downsampling by a convolution with three taps and stride 2; the embedding is not used.

    With `end_padding` it pads one position after the last instead of one on either side.
    """

    def __init__(self, channels: int, rank: int = 2, end_padding: bool = False) -> None:
        super().__init__()
        self.convolution = convolution(rank, channels, channels, 3, stride=2)
        self.padding = [0, 1] * rank if end_padding else []
        if end_padding:
            self.convolution.padding = (0,) * rank

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        return self.convolution(functional.pad(x, self.padding) if self.padding else x)


class Upsample(nn.Module):
    """Nearest-neighbour upsampling by 2 followed by a convolution with three taps; the embedding is not used."""

    def __init__(self, channels: int, rank: int = 2) -> None:
        super().__init__()
        self.nearest = nn.Identity() if rank == 2 else Nearest2x()  # UpsampleConv3x3 does both
        self.convolution = UpsampleConv3x3(channels, channels) if rank == 2 else three_taps(rank, channels, channels)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        return self.convolution(self.nearest(x))
