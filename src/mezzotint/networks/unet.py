"""The U-Net of DDPM and ADM: an encoder and a decoder of residual blocks by levels, with skip connections."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from mezzotint.finite import Finite
from mezzotint.instantiate.nodes import Recorded
from mezzotint.networks.attention import SelfAttention
from mezzotint.networks.embeddings import Conditioning, data_shape
from mezzotint.networks.layers import (
    AvgPool2x,
    Downsample,
    Nearest2x,
    ResidualBlock,
    ScaleShift,
    Shift,
    Upsample,
    convolution,
    group_norm,
    zero,
)


class Stage(nn.Module):
    """A residual block, optionally followed by attention.

    With `checkpointing` the backward pass recomputes activations instead of storing them: less memory, about a third
    more time, identical results.
    """

    def __init__(self, block: ResidualBlock, attention: SelfAttention | None) -> None:
        super().__init__()
        self.block = block
        self.attention = attention or nn.Identity()
        self.checkpointing = False

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(self.compute, x, embedding, use_reentrant=False)
        return self.compute(x, embedding)

    def compute(self, x: Tensor, embedding: Tensor) -> Tensor:
        return self.attention(self.block(x, embedding))


class DownLevel(nn.Module):
    """One level of the encoder: stages, then downsampling. Every output is stored for the skip connections."""

    def __init__(self, stages: list[Stage], resample: nn.Module | None) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.resample = resample

    def forward(self, x: Tensor, embedding: Tensor, skips: list[Tensor]) -> Tensor:
        for stage in self.stages:
            x = stage(x, embedding)
            skips.append(x)
        if self.resample is not None:
            x = self.resample(x, embedding)
            skips.append(x)
        return x


class UpLevel(nn.Module):
    """One level of the decoder: each stage takes its input and the latest stored output; then upsampling."""

    def __init__(self, stages: list[Stage], resample: nn.Module | None) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.resample = resample

    def forward(self, x: Tensor, embedding: Tensor, skips: list[Tensor]) -> Tensor:
        for stage in self.stages:
            x = stage(torch.cat([x, skips.pop()], dim=1), embedding)
        return x if self.resample is None else self.resample(x, embedding)


@dataclass(frozen=True)
class BlockFactory:
    """Builds the blocks of one U-Net, which share all settings but channels and size."""

    embedding: int
    groups: int
    dropout: float
    scale_shift: bool
    residual: bool
    heads: int
    head_width: int | None
    rank: int

    def block(self, inputs: int, outputs: int, resample: nn.Module | None = None) -> ResidualBlock:
        condition = (ScaleShift if self.scale_shift else Shift)(outputs, self.embedding, self.groups)
        return ResidualBlock(inputs, outputs, condition, self.groups, self.dropout, resample, self.rank)

    def attention(self, channels: int) -> SelfAttention:
        heads = channels // self.head_width if self.head_width else self.heads
        if heads < 1 or channels % heads or (self.head_width and channels % self.head_width):
            raise ValueError(
                f"heads={self.heads}, head_width={self.head_width}: attention cannot split {channels} channels. "
                "Choose a number that divides width times every multiplier that attends (and the last one)."
            )
        return SelfAttention(channels, heads, self.groups, self.rank)

    def stage(self, inputs: int, outputs: int, attends: bool) -> Stage:
        attention = self.attention(outputs) if attends else None
        return Stage(self.block(inputs, outputs), attention)

    def halving(self, channels: int) -> nn.Module:
        return self.block(channels, channels, AvgPool2x()) if self.residual else Downsample(channels, self.rank)

    def doubling(self, channels: int) -> nn.Module:
        return self.block(channels, channels, Nearest2x()) if self.residual else Upsample(channels, self.rank)


class UNet(Recorded, nn.Module, metaclass=Finite):
    """The U-Net of DDPM, and with `scale_shift`, `head_width` and `resample="residual"` the one of ADM.

    Its layers have as many spatial dimensions as the data: one for series, two for images, three for volumes and video.

    Source: Ho, Jain and Abbeel 2020, appendix B, https://arxiv.org/abs/2006.11239; Dhariwal and Nichol 2021, section 3,
    https://arxiv.org/abs/2105.05233. `UNet((3, 32, 32))` is the CIFAR-10 network of DDPM: 35,746,307 parameters.

    Args:
        shape: (C, *size) of one example, with one to three sizes, each divisible by 2^(levels - 1).
        classes: 0 for none; else labels 0 .. classes - 1, and -1 for "no class".
        width: channels of the first level; even.
        multipliers: channels of each level, in multiples of width (0.5 is the first of ADM at 512 x 512); their number
            is the number of levels.
        blocks: residual blocks per level of the encoder (one more in the decoder).
        attention: sizes (the shortest side of a level's feature maps) at which each block is followed by attention.
            The middle, at the lowest level, always has it.
        heads: attention heads.
        head_width: channels per head, in place of `heads`.
        groups: groups of each GroupNorm, at most; fewer where a group would have under four channels.
        dropout: dropout probability in residual blocks.
        scale_shift: the embedding scales and shifts the normalised features (ADM) instead of being added (DDPM).
        resample: "plain" resamples by convolutions, "residual" by residual blocks.
        learned_variance: 2 C output channels; the second C are the fraction of LearnedRangeVariance.
        self_conditioning: 2 C input channels; the second C are `estimate`, the network's previous x0, by default
            zeros; Chen et al. 2022, https://arxiv.org/abs/2208.04202.
        augmentation: number of augmentation labels (`augment`; 9 for GeometricAugmentation), zeros by default.

    Raises:
        ValueError: a size of the data is not divisible, no level has a size in `attention`, or heads do not divide.
    """

    positive = ("head_width",)

    def __init__(
        self,
        shape: Sequence[int],
        classes: int = 0,
        width: int = 128,
        multipliers: Sequence[float] = (1, 2, 2, 2),
        blocks: int = 2,
        attention: Sequence[int] = (16,),
        heads: int = 1,
        head_width: int | None = None,
        groups: int = 32,
        dropout: float = 0.0,
        scale_shift: bool = False,
        resample: Literal["plain", "residual"] = "plain",
        learned_variance: bool = False,
        self_conditioning: bool = False,
        augmentation: int = 0,
    ) -> None:
        super().__init__()
        channels, *size = self.shape = data_shape(shape)
        if resample not in ("plain", "residual"):
            raise ValueError(f"resample={resample!r} is not known. Choose 'plain' or 'residual'.")
        if blocks < 1:
            raise ValueError(f"blocks={blocks} leaves the levels empty. Choose 1 or more.")
        if min(multipliers, default=1) <= 0 or groups < 1:
            raise ValueError(f"multipliers={list(multipliers)}, groups={groups}: all must be above 0.")
        sizes = level_sizes(size, len(multipliers))
        attends = attending(attention, sizes)
        embedding = 4 * width
        residual = resample == "residual"
        make = BlockFactory(embedding, groups, dropout, scale_shift, residual, heads, head_width, len(size))
        widths = level_widths(width, multipliers)
        last = len(widths) - 1

        self.embedding = Conditioning(classes, width, embedding, augmentation)
        self.self_conditioning = self_conditioning
        now = widths[0]
        self.first = convolution(len(size), channels * (2 if self_conditioning else 1), now, 3)
        kept = [now]

        self.down = nn.ModuleDict()
        for level, target in enumerate(widths):
            inputs = [now, *[target] * (blocks - 1)]
            stages = [make.stage(size, target, attends[level]) for size in inputs]
            self.down[f"level{level}"] = DownLevel(stages, make.halving(target) if level < last else None)
            now = target
            kept += [target] * (blocks + (level < last))

        self.middle = nn.ModuleList([make.stage(now, now, attends=True), make.stage(now, now, attends=False)])

        self.up = nn.ModuleDict()
        for level, target in reversed(list(enumerate(widths))):
            inputs = [now, *[target] * blocks]
            stages = [make.stage(size + kept.pop(), target, attends[level]) for size in inputs]
            self.up[f"level{level}"] = UpLevel(stages, make.doubling(target) if level else None)
            now = target

        self.norm = group_norm(now, groups)
        # Zero, so that the untrained network returns 0, the mean of the target.
        self.last = zero(convolution(len(size), now, channels * (2 if learned_variance else 1), 3))

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        label: Tensor | None = None,
        estimate: Tensor | None = None,
        augment: Tensor | None = None,
    ) -> Tensor:
        """Map x and estimate (B, C, *size), time (B,), label (B,) int64 and augment (B, A) to (B, C or 2 C, *size)."""
        embedding = functional.silu(self.embedding(time, label, augment))
        x = self.first(
            self.with_estimate(x, estimate).to(self.first.weight.dtype)
        )  # the state may have higher precision
        skips = [x]
        for descent in self.down.values():
            x = descent(x, embedding, skips)
        for stage in self.middle:
            x = stage(x, embedding)
        for ascent in self.up.values():
            x = ascent(x, embedding, skips)
        return self.last(functional.silu(self.norm(x)))

    def with_estimate(self, x: Tensor, estimate: Tensor | None) -> Tensor:
        if self.self_conditioning:
            return torch.cat([x, torch.zeros_like(x) if estimate is None else estimate.to(x.dtype)], dim=1)
        if estimate is not None:
            raise ValueError(
                "A network built with self_conditioning=false takes no estimate: build it with self_conditioning=true, "
                "or train and sample without self-conditioning."
            )
        return x


def level_widths(width: int, multipliers: Sequence[float]) -> list[int]:
    """Return the channels of each level.

    Raises:
        ValueError: a product of width and multiplier is not an integer.
    """
    widths = [width * multiplier for multiplier in multipliers]
    if any(product % 1 for product in widths):
        raise ValueError(f"width={width}, multipliers={list(multipliers)}: each product must be a number of channels.")
    return [int(product) for product in widths]


def level_sizes(size: Sequence[int], levels: int) -> list[int]:
    """Return the shortest side of each level's feature maps.

    Raises:
        ValueError: no levels, or a size that cannot be halved levels - 1 times; the message has the nearest valid ones.
    """
    if levels < 1:
        raise ValueError("multipliers=[] gives no level. Give one multiplier per level, for example [1, 2, 2, 2].")
    factor = 2 ** (levels - 1)
    if any(n % factor for n in size):
        below, above = [max(factor, n - n % factor) for n in size], [n + -n % factor for n in size]
        nearest = " or ".join(dict.fromkeys([" x ".join(map(str, below)), " x ".join(map(str, above))]))
        given = " x ".join(map(str, size))
        raise ValueError(
            f"{f'{given} images' if len(size) == 2 else f'data of size {given}'} do not fit {levels} levels "
            f"(multipliers), which halve them {levels - 1} times: every side must be divisible by {factor}. The "
            f"nearest sizes are {nearest}. Use fewer multipliers, or change the size of the data."
        )
    return [min(size) // 2**level for level in range(levels)]


def attending(attention: Sequence[int], sizes: list[int]) -> list[bool]:
    """Return for each level whether it has attention.

    Raises:
        ValueError: a size that no level has, whose attention would be silently left out.
    """
    missing = sorted(set(attention) - set(sizes))
    if missing:
        raise ValueError(
            f"attention={list(attention)}: no level has size {', '.join(map(str, missing))}. "
            f"The levels have {', '.join(map(str, sizes))}; name some of these, or none with attention=[]."
        )
    return [size in attention for size in sizes]
