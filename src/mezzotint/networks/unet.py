"""The U-Net of DDPM and ADM: an encoder and a decoder of residual blocks by levels, with skip connections."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from mezzotint.finite import Finite
from mezzotint.instantiate.nodes import Recorded
from mezzotint.networks.attention import CrossAttention, SelfAttention
from mezzotint.networks.conditions import Condition, ConditionEmbedder, TokenContext
from mezzotint.networks.embeddings import Conditioning, cosines_first, data_shape, sinusoidal
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
from mezzotint.networks.level_sizes import attending, level_sizes, level_widths

WAVES = {"ddpm": sinusoidal, "adm": cosines_first}


class Stage(nn.Module):
    """A residual block, optionally followed by attention of the positions to each other, then to tokens.

    With `checkpointing` the backward pass recomputes activations instead of storing them: less memory, about a third
    more time, identical results.
    """

    def __init__(
        self, block: ResidualBlock, attention: SelfAttention | None, cross: CrossAttention | None = None
    ) -> None:
        super().__init__()
        self.block = block
        self.attention = attention or nn.Identity()
        self.cross = cross
        self.checkpointing = False

    def forward(self, x: Tensor, embedding: Tensor, context: TokenContext | None = None) -> Tensor:
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(self.compute, x, embedding, context, use_reentrant=False)
        return self.compute(x, embedding, context)

    def compute(self, x: Tensor, embedding: Tensor, context: TokenContext | None) -> Tensor:
        x = self.attention(self.block(x, embedding))
        return x if self.cross is None or context is None else self.cross(x, context)


def stages_of(part: nn.Module) -> list[Stage]:
    """Return the stages in a part of a network, such as one of its levels."""
    return [module for module in part.modules() if isinstance(module, Stage)]


class DownLevel(nn.Module):
    """One level of the encoder: stages, then downsampling. Every output is stored for the skip connections."""

    def __init__(self, stages: list[Stage], resample: nn.Module | None) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.resample = resample

    def forward(self, x: Tensor, embedding: Tensor, skips: list[Tensor], context: TokenContext | None = None) -> Tensor:
        for stage in self.stages:
            x = stage(x, embedding, context)
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

    def forward(self, x: Tensor, embedding: Tensor, skips: list[Tensor], context: TokenContext | None = None) -> Tensor:
        for stage in self.stages:
            x = stage(torch.cat([x, skips.pop()], dim=1), embedding, context)
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
    eps: float
    end_padding: bool

    def block(self, inputs: int, outputs: int, resample: nn.Module | None = None) -> ResidualBlock:
        condition = (ScaleShift if self.scale_shift else Shift)(outputs, self.embedding, self.groups, self.eps)
        return ResidualBlock(inputs, outputs, condition, self.groups, self.dropout, resample, self.rank, eps=self.eps)

    def heads_of(self, channels: int) -> int:
        heads = channels // self.head_width if self.head_width else self.heads
        if heads < 1 or channels % heads or (self.head_width and channels % self.head_width):
            raise ValueError(
                f"heads={self.heads}, head_width={self.head_width}: attention cannot split {channels} channels. "
                "Choose a number that divides width times every multiplier that attends (and the last one)."
            )
        return heads

    def stage(self, inputs: int, outputs: int, attends: bool, crosses: bool) -> Stage:
        same = (self.groups, self.rank)  # in the order of the first weights, which seeds fix
        attention = SelfAttention(outputs, self.heads_of(outputs), *same, eps=self.eps) if attends else None
        block = self.block(inputs, outputs)
        cross = CrossAttention(outputs, self.embedding, self.heads_of(outputs), *same) if crosses else None
        return Stage(block, attention, cross)

    def halving(self, channels: int) -> nn.Module:
        if self.residual:
            return self.block(channels, channels, AvgPool2x())
        return Downsample(channels, self.rank, self.end_padding)

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
        conditions: the kind of each further condition, by its name; those of the data in a config.
        cross_attention: sizes at which each block attends to the tokens of sequences among the conditions; None for
            those in `attention`. The middle always does.
        waves: of the time embedding: "ddpm", sines first, or "adm", cosines first with other frequencies.
        norm_eps: added to the variance in each GroupNorm; 1e-6 in DDPM's own code.
        end_padding: the convolutions of resample="plain" pad after the last position only, as in DDPM's own code.

    Raises:
        ValueError: a size of the data is not divisible, no level has a size in `attention` or `cross_attention`, heads
            do not divide, or there are no tokens to attend to.
    """

    positive = ("head_width", "norm_eps")

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
        conditions: Mapping[str, Condition] | None = None,
        cross_attention: Sequence[int] | None = None,
        waves: Literal["ddpm", "adm"] = "ddpm",
        norm_eps: float = 1e-5,
        end_padding: bool = False,
    ) -> None:
        super().__init__()
        channels, *size = self.shape = data_shape(shape)
        if resample not in ("plain", "residual"):
            raise ValueError(f"resample={resample!r} is not known. Choose 'plain' or 'residual'.")
        if waves not in WAVES:
            raise ValueError(f"waves={waves!r} is not known. Choose 'ddpm' or 'adm'.")
        if blocks < 1:
            raise ValueError(f"blocks={blocks} leaves the levels empty. Choose 1 or more.")
        if min(multipliers, default=1) <= 0 or groups < 1:
            raise ValueError(f"multipliers={list(multipliers)}, groups={groups}: all must be above 0.")
        sizes = level_sizes(size, len(multipliers))
        attends = attending(attention, sizes)
        embedding = 4 * width
        residual = resample == "residual"
        make = BlockFactory(
            embedding, groups, dropout, scale_shift, residual, heads, head_width, len(size), norm_eps, end_padding
        )
        widths = level_widths(width, multipliers)
        last = len(widths) - 1

        self.embedding = Conditioning(classes, width, embedding, augmentation, WAVES[waves])
        self.conditions = ConditionEmbedder(conditions, embedding, size)
        tokens = bool(self.conditions.sequences)
        if cross_attention and not tokens:
            raise ValueError(f"cross_attention={list(cross_attention)}: no condition is a sequence to attend to.")
        crosses = [tokens and at for at in attending(attention if cross_attention is None else cross_attention, sizes)]
        self.self_conditioning = self_conditioning
        now = widths[0]
        inputs = channels * (2 if self_conditioning else 1) + self.conditions.channels
        self.first = convolution(len(size), inputs, now, 3)
        kept = [now]

        self.down = nn.ModuleDict()
        for level, target in enumerate(widths):
            given = [now, *[target] * (blocks - 1)]
            stages = [make.stage(size, target, attends[level], crosses[level]) for size in given]
            self.down[f"level{level}"] = DownLevel(stages, make.halving(target) if level < last else None)
            now = target
            kept += [target] * (blocks + (level < last))

        self.middle = nn.ModuleList([make.stage(now, now, True, tokens), make.stage(now, now, False, False)])

        self.up = nn.ModuleDict()
        for level, target in reversed(list(enumerate(widths))):
            given = [now, *[target] * blocks]
            stages = [make.stage(size + kept.pop(), target, attends[level], crosses[level]) for size in given]
            self.up[f"level{level}"] = UpLevel(stages, make.doubling(target) if level else None)
            now = target

        self.norm = group_norm(now, groups, norm_eps)
        # Zero, so that the untrained network returns 0, the mean of the target.
        self.last = zero(convolution(len(size), now, channels * (2 if learned_variance else 1), 3))

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        label: Tensor | None = None,
        estimate: Tensor | None = None,
        augment: Tensor | None = None,
        **conditions: Tensor | None,
    ) -> Tensor:
        """Map x and estimate (B, C, *size), time (B,), label (B,) int64, augment (B, A) to (B, C or 2 C, *size).

        Further conditions are given by name; one that is not given has its null.
        """
        given = self.conditions(x, conditions)
        embedding = functional.silu(given.added(self.embedding(time, label, augment)))
        x = given.beside(self.with_estimate(x, estimate))
        x = self.first(x.to(self.first.weight.dtype))  # the state may have higher precision
        skips = [x]
        for descent in self.down.values():
            x = descent(x, embedding, skips, given.context)
        for stage in self.middle:
            x = stage(x, embedding, given.context)
        for ascent in self.up.values():
            x = ascent(x, embedding, skips, given.context)
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
