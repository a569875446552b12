"""The U-Net of denoising-diffusion-pytorch: linear attention at every level but the last, RMSNorm, space-to-depth."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from mezzotint.finite import Finite
from mezzotint.instantiate.nodes import Recorded
from mezzotint.networks.attention import attention
from mezzotint.networks.conditions import Condition, ConditionEmbedder
from mezzotint.networks.embeddings import Conditioning, data_shape
from mezzotint.networks.layers import Nearest2x, convolution, per_channel
from mezzotint.networks.level_sizes import attending, level_sizes, level_widths

MEMORY = 4  # learned keys and values beside those of the positions


class ChannelRMSNorm(nn.Module):
    """sqrt(C) x / |x| over the channels of each position, times a learned scale: (B, C, *size) -> the same."""

    def __init__(self, channels: int, rank: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, *(1,) * rank))

    def forward(self, x: Tensor) -> Tensor:
        return functional.normalize(x, dim=1) * self.scale * len(self.scale) ** 0.5


class RMSResidualBlock(nn.Module):
    """shortcut(x) + silu(norm(conv(silu((1 + s(embedding)) norm(conv(x)) + b(embedding)))))."""

    def __init__(self, inputs: int, outputs: int, embedding: int, dropout: float, rank: int) -> None:
        super().__init__()
        self.first = convolution(rank, inputs, outputs, 3)
        self.norm1 = ChannelRMSNorm(outputs, rank)
        self.condition = nn.Linear(embedding, 2 * outputs)
        self.dropout = nn.Dropout(dropout)
        self.second = convolution(rank, outputs, outputs, 3)
        self.norm2 = ChannelRMSNorm(outputs, rank)
        self.shortcut = nn.Identity() if inputs == outputs else convolution(rank, inputs, outputs, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = per_channel(self.condition(embedding), x).chunk(2, dim=1)
        h = functional.silu(self.norm1(self.first(x)) * (1 + scale) + shift)
        h = functional.silu(self.norm2(self.second(self.dropout(h))))
        return h + self.shortcut(x)


class MemoryAttention(nn.Module):
    """x + project(attention), over all positions and `MEMORY` learned keys and values."""

    def __init__(self, channels: int, heads: int, head_width: int, rank: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = ChannelRMSNorm(channels, rank)
        self.memory = nn.Parameter(torch.randn(2, heads, MEMORY, head_width))
        self.qkv = convolution(rank, channels, 3 * heads * head_width, 1, bias=False)
        self.project = convolution(rank, heads * head_width, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        split = self.qkv(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1)).mT
        query, key, value = split.unbind(1)  # (B, heads, N, d) each
        memory = self.memory[:, None].expand(-1, x.shape[0], -1, -1, -1).to(key.dtype)
        key, value = torch.cat([memory[0], key], dim=2), torch.cat([memory[1], value], dim=2)
        found = attention(query.contiguous(), key, value).mT.flatten(1, 2)
        return x + self.project(found.reshape(x.shape[0], -1, *x.shape[2:]))


class LinearAttention(nn.Module):
    """x + norm(output(softmax(query) (softmax(key)^T value))), whose cost grows linearly with the number of positions.

    Queries are normalised over their channels, keys over all positions and `MEMORY` learned ones.

    Source: Shen et al. 2018, section 3, https://arxiv.org/abs/1812.01243
    """

    def __init__(self, channels: int, heads: int, head_width: int, rank: int) -> None:
        super().__init__()
        self.heads, self.head_width = heads, head_width
        self.norm = ChannelRMSNorm(channels, rank)
        self.memory = nn.Parameter(torch.randn(2, heads, head_width, MEMORY))
        self.qkv = convolution(rank, channels, 3 * heads * head_width, 1, bias=False)
        self.output = convolution(rank, heads * head_width, channels, 1)
        self.output_norm = ChannelRMSNorm(channels, rank)

    def forward(self, x: Tensor) -> Tensor:
        split = self.qkv(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, self.head_width))
        query, key, value = split.unbind(1)  # (B, heads, d, N) each
        memory = self.memory[:, None].expand(-1, x.shape[0], -1, -1, -1).to(key.dtype)
        key, value = torch.cat([memory[0], key], dim=-1), torch.cat([memory[1], value], dim=-1)
        context = key.softmax(dim=-1) @ value.mT
        found = context.mT @ (query.softmax(dim=-2) * self.head_width**-0.5)
        return x + self.output_norm(self.output(found.flatten(1, 2).reshape(x.shape[0], -1, *x.shape[2:])))


class Step(nn.Module):
    """A residual block, optionally followed by attention. With `checkpointing` the backward pass recomputes it."""

    def __init__(self, block: RMSResidualBlock, attends: nn.Module | None = None) -> None:
        super().__init__()
        self.block, self.attention = block, attends or nn.Identity()
        self.checkpointing = False

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(self.compute, x, embedding, use_reentrant=False)
        return self.compute(x, embedding)

    def compute(self, x: Tensor, embedding: Tensor) -> Tensor:
        return self.attention(self.block(x, embedding))


class SpaceToDepth(nn.Module):
    """Halve the size: the 2^d positions of a cell become channels, (B, C, *size) -> (B, 2^d C, *size / 2)."""

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, *size = x.shape
        rank, half = len(size), [length // 2 for length in size]
        cells = x.reshape(batch, channels, *[n for length in half for n in (length, 2)])
        inside, outside = [3 + 2 * i for i in range(rank)], [2 + 2 * i for i in range(rank)]
        return cells.permute(0, 1, *inside, *outside).reshape(batch, channels * 2**rank, *half)


class DownLevel(nn.Module):
    """One level of the encoder: steps, whose outputs are stored for the decoder, and the way to the next level."""

    def __init__(self, steps: Sequence[Step], resample: nn.Module) -> None:
        super().__init__()
        self.stages, self.resample = nn.ModuleList(steps), resample

    def forward(self, x: Tensor, embedding: Tensor, skips: list[Tensor]) -> Tensor:
        for step in self.stages:
            x = step(x, embedding)
            skips.append(x)
        return self.resample(x)


class UpLevel(nn.Module):
    """One level of the decoder: each step takes its input and the latest stored output; then the way to the next."""

    def __init__(self, steps: Sequence[Step], resample: nn.Module) -> None:
        super().__init__()
        self.stages, self.resample = nn.ModuleList(steps), resample

    def forward(self, x: Tensor, embedding: Tensor, skips: list[Tensor]) -> Tensor:
        for step in self.stages:
            x = step(torch.cat([x, skips.pop()], dim=1), embedding)
        return self.resample(x)


class LinearAttentionUNet(Recorded, nn.Module, metaclass=Finite):
    """The U-Net of denoising-diffusion-pytorch: two residual blocks a level, each of which leads to the decoder.

    Source: https://github.com/lucidrains/denoising-diffusion-pytorch, version 2.3, `Unet`.
    `LinearAttentionUNet((3, 64, 64))` is `Unet(dim=64, dim_mults=(1, 2, 4, 8))`: 35,711,491 parameters.

    Args:
        shape: (C, *size) of one example, with one to three sizes, each divisible by 2^(levels - 1).
        classes: 0 for none; else labels 0 .. classes - 1, and -1 for "no class".
        width: channels before the first level; even.
        multipliers: channels behind each level, in multiples of width; their number is the number of levels.
        attention: sizes (the shortest side of a level's feature maps) with attention instead of linear attention; None
            for the lowest level. The middle always has attention.
        heads: attention heads.
        head_width: channels per head.
        dropout: dropout probability in residual blocks.
        learned_variance: 2 C output channels; the second C are the fraction of LearnedRangeVariance.
        conditions: the kind of each further condition, by its name; those of the data in a config. Sequences are not
            taken.

    Raises:
        ValueError: a size of the data is not divisible, no level has a size in `attention`, or a condition is a
            sequence.
    """

    positive = ("heads", "head_width")

    def __init__(
        self,
        shape: Sequence[int],
        classes: int = 0,
        width: int = 64,
        multipliers: Sequence[float] = (1, 2, 4, 8),
        attention: Sequence[int] | None = None,
        heads: int = 4,
        head_width: int = 32,
        dropout: float = 0.0,
        learned_variance: bool = False,
        conditions: Mapping[str, Condition] | None = None,
    ) -> None:
        super().__init__()
        channels, *size = self.shape = data_shape(shape)
        rank, embedding = len(size), 4 * width
        sizes = level_sizes(size, len(multipliers))
        attends = attending(sizes[-1:] if attention is None else attention, sizes)
        widths = level_widths(width, multipliers)
        last = len(widths) - 1
        self.embedding = Conditioning(classes, width, embedding, activation=functional.gelu)
        self.conditions = ConditionEmbedder(conditions, embedding, size)
        if self.conditions.sequences:
            name = next(iter(self.conditions.sequences))
            raise ValueError(f"LinearAttentionUNet takes no sequences such as {name}: use UNet or DiT.")

        def block(inputs: int, outputs: int) -> RMSResidualBlock:
            return RMSResidualBlock(inputs, outputs, embedding, dropout, rank)

        def attending_step(inputs: int, outputs: int, full: bool) -> Step:
            kind = MemoryAttention if full else LinearAttention
            return Step(block(inputs, outputs), kind(outputs, heads, head_width, rank))

        self.first = convolution(rank, channels + self.conditions.channels, width, 7)
        self.down, self.up = nn.ModuleDict(), nn.ModuleDict()
        for level, (now, target) in enumerate(zip([width, *widths], widths, strict=False)):
            steps = Step(block(now, now)), attending_step(now, now, attends[level])
            lead = convolution(rank, now, target, 3)
            if level < last:
                lead = nn.Sequential(SpaceToDepth(), convolution(rank, now * 2**rank, target, 1))
            self.down[f"level{level}"] = DownLevel(steps, lead)
        bottom = widths[-1]
        self.middle = nn.ModuleList([attending_step(bottom, bottom, True), Step(block(bottom, bottom))])
        for level, (now, target) in reversed(list(enumerate(zip([width, *widths], widths, strict=False)))):
            steps = Step(block(target + now, target)), attending_step(target + now, target, attends[level])
            lead = convolution(rank, target, now, 3)
            self.up[f"level{level}"] = UpLevel(steps, nn.Sequential(Nearest2x(), lead) if level else lead)
        self.final = Step(block(2 * width, width))
        self.last = convolution(rank, width, channels * (2 if learned_variance else 1), 1)

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None, **conditions: Tensor | None) -> Tensor:
        """Map x (B, C, *size), time (B,) and label (B,) int64, -1 for none, to (B, C or 2 C, *size).

        Further conditions are given by name; one that is not given has its null.
        """
        given = self.conditions(x, conditions)
        embedding = functional.silu(given.added(self.embedding(time, label)))
        x = self.first(given.beside(x).to(self.first.weight.dtype))  # the state may have higher precision
        skips = [x]
        for descent in self.down.values():
            x = descent(x, embedding, skips)
        for step in self.middle:
            x = step(x, embedding)
        for ascent in self.up.values():
            x = ascent(x, embedding, skips)
        return self.last(self.final(torch.cat([x, skips.pop()], dim=1), embedding))
