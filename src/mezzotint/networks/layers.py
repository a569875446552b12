"""U-Net layers: normalisation, conditioning, residual blocks, downsampling and upsampling."""

from torch import Tensor, nn
from torch.nn import functional

from mezzotint.networks.cpu import Conv3x3, UpsampleConv3x3


def group_norm(channels: int, groups: int) -> nn.GroupNorm:
    """Return a GroupNorm with as many groups as possible, at most `groups`, of equal size of at least four."""
    limit = max(1, min(groups, channels // 4))
    return nn.GroupNorm(next(n for n in range(limit, 0, -1) if channels % n == 0), channels)


def zero(layer: nn.Conv2d) -> nn.Conv2d:
    """Zero all parameters of a layer and return it."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class Shift(nn.Module):
    """norm(h + b(embedding)), the conditioning of DDPM. Source: Ho, Jain and Abbeel 2020, appendix B."""

    def __init__(self, channels: int, embedding: int, groups: int) -> None:
        super().__init__()
        self.norm = group_norm(channels, groups)
        self.linear = nn.Linear(embedding, channels)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        return self.norm(h + self.linear(embedding)[:, :, None, None])


class ScaleShift(nn.Module):
    """(1 + s(embedding)) norm(h) + b(embedding), as in ADM. Source: Dhariwal and Nichol 2021, section 3.1."""

    def __init__(self, channels: int, embedding: int, groups: int) -> None:
        super().__init__()
        self.norm = group_norm(channels, groups)
        self.linear = nn.Linear(embedding, 2 * channels)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.linear(embedding)[:, :, None, None].chunk(2, dim=1)
        return self.norm(h) * (1 + scale) + shift


class AvgPool2x(nn.Module):
    """2 x 2 average pooling."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, 2)


class Nearest2x(nn.Module):
    """Nearest-neighbour upsampling by 2."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(x, scale_factor=2.0, mode="nearest")


class ResidualBlock(nn.Module):
    """shortcut(x) + conv(silu(condition(conv(silu(norm(x))), embedding))).

    The second convolution is initialised to zero, so that the block starts as its shortcut and deep stacks train well.
    With `resample` (AvgPool2x or Nearest2x) both branches are resampled before the first convolution, as in ADM.

    Source: Ho, Jain and Abbeel 2020, appendix B; Dhariwal and Nichol 2021, section 3.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        condition: nn.Module,  # (h, embedding) -> h, normalised
        groups: int,
        dropout: float = 0.0,
        resample: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.norm = group_norm(inputs, groups)
        self.resample = resample or nn.Identity()
        self.first = Conv3x3(inputs, outputs)
        self.condition = condition
        self.dropout = nn.Dropout(dropout)
        self.second = zero(Conv3x3(outputs, outputs))
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.first(self.resample(functional.silu(self.norm(x))))
        h = functional.silu(self.condition(h, embedding))
        return self.shortcut(self.resample(x)) + self.second(self.dropout(h))


class Downsample(nn.Module):
    """Downsampling by a 3 x 3 convolution with stride 2; the embedding is not used."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        return self.convolution(x)


class Upsample(nn.Module):
    """Nearest-neighbour upsampling by 2 followed by a 3 x 3 convolution; the embedding is not used."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = UpsampleConv3x3(channels, channels)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        return self.convolution(x)
