"""The magnitude-preserving U-Net of EDM2."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mezzotint.finite import Finite
from mezzotint.instantiate.nodes import Recorded
from mezzotint.networks.conditions import Condition, ConditionEmbedder, Embedded
from mezzotint.networks.embeddings import image_shape, scaled_one_hot
from mezzotint.networks.layers import AvgPool2x, Nearest2x
from mezzotint.networks.magnitude import MPBlock, MPFourier, MPWeight, mp_cat, mp_silu, mp_sum, normalized
from mezzotint.networks.unet import attending, level_sizes, level_widths


class EDM2UNet(Recorded, nn.Module, metaclass=Finite):
    """The ADM U-Net with magnitude-preserving layers: no biases, no group norms, weights of unit norm.

    The width sets the size: 64 (XXS), 128 (XS), 192 (S), 256 (M), 320 (L), 384 (XL), 448 (XXL). Made for target=edm,
    c_in=unit_variance and c_noise=log_sigma. The last gain is initially 0, so that the untrained network returns 0.

    Source: Karras et al. 2024, section 2 (configuration G), https://arxiv.org/abs/2312.02696

    Args:
        shape: (C, H, W) of one image; H and W divisible by 2^(levels - 1).
        classes: 0 for none; else labels 0 .. classes - 1, and -1 for "no class".
        width: channels of the first level.
        multipliers: channels of each level, in multiples of width; their number is the number of levels.
        blocks: residual blocks per level of the encoder (one more in the decoder).
        attention: sizes (the shorter side of a level's feature maps) at which each block attends, as the middle does.
        head_width: channels per attention head.
        dropout: dropout probability in residual blocks.
        residual_share, attention_share: shares of the residual branch and of attention in their sums.
        label_share, skip_share: shares of the label in the embedding, and of stored features in the decoder.
        conditions: the kind of each further condition, by its name; those of the data in a config. The sum of their
            vectors joins the embedding as the label does, scaled to the magnitude of the label's; of sequences the mean
            is one of them.

    Raises:
        ValueError: the image size is not divisible, no level has a size in `attention`, or heads do not divide.
    """

    positive = ("head_width",)
    natural = ("blocks", "dropout", "residual_share", "attention_share", "label_share", "skip_share")

    def __init__(
        self,
        shape: Sequence[int],
        classes: int = 0,
        width: int = 192,
        multipliers: Sequence[float] = (1, 2, 3, 4),
        blocks: int = 3,
        attention: Sequence[int] = (16, 8),
        head_width: int = 64,
        dropout: float = 0.0,
        residual_share: float = 0.3,
        attention_share: float = 0.3,
        label_share: float = 0.5,
        skip_share: float = 0.5,
        conditions: Mapping[str, Condition] | None = None,
    ) -> None:
        super().__init__()
        channels, *size = self.shape = image_shape(shape)
        attends = attending(attention, level_sizes(size, len(multipliers)))
        widths = level_widths(width, multipliers)
        last, embedding = len(widths) - 1, max(widths)
        self.classes, self.label_share, self.skip_share = classes, label_share, skip_share

        def block(
            inputs: int, outputs: int, encoder: bool, attends: bool = False, resample: nn.Module | None = None
        ) -> MPBlock:
            heads = head_count(outputs, head_width) if attends else 0
            shares = (residual_share, attention_share)
            return MPBlock(inputs, outputs, embedding, encoder, resample, heads, dropout, shares)

        self.fourier = MPFourier(widths[0])
        self.time = MPWeight(widths[0], embedding)
        self.label = MPWeight(classes, embedding) if classes else None
        self.conditions = ConditionEmbedder(conditions, embedding, size)
        self.first = MPWeight(channels + self.conditions.channels + 1, widths[0], 3)
        now, kept = widths[0], [widths[0]]
        self.down = nn.ModuleDict()
        for level, target in enumerate(widths):
            stages = [block(now, now, True, resample=AvgPool2x())] if level else []
            kept += [now] * len(stages)
            for inputs in [now, *[target] * (blocks - 1)]:
                stages.append(block(inputs, target, True, attends[level]))
                kept.append(target)
            self.down[f"level{level}"] = nn.ModuleList(stages)
            now = target

        self.middle = nn.ModuleList([block(now, now, False, True), block(now, now, False)])

        self.up, self.resamplers = nn.ModuleDict(), nn.ModuleDict()
        for level, target in reversed(list(enumerate(widths))):
            if level < last:
                self.resamplers[f"level{level}"] = block(now, now, False, resample=Nearest2x())
            inputs = [now, *[target] * blocks]
            self.up[f"level{level}"] = nn.ModuleList(
                block(n + kept.pop(), target, False, attends[level]) for n in inputs
            )
            now = target
        self.last = MPWeight(now, channels, 3)
        self.gain = nn.Parameter(torch.zeros(1))

    def embed(self, time: Tensor, label: Tensor | None, given: Embedded) -> Tensor:
        h = self.time(self.fourier(time).to(self.first.weight.dtype))
        if self.label is not None:
            h = mp_sum(h, self.label(scaled_one_hot(label, self.classes, h)), self.label_share)
        elif label is not None:
            raise ValueError("A network built with classes=0 takes no label: leave it out, or build with classes=N.")
        if given.vector is not None:
            h = mp_sum(h, normalized(given.vector, 1).to(h.dtype), self.label_share)
        return mp_silu(h)

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None, **conditions: Tensor | None) -> Tensor:
        """Map x (B, C, H, W), time (B,) and label (B,) int64, -1 for none, to (B, C, H, W).

        Further conditions are given by name; one that is not given has its null.
        """
        given = self.conditions(x, conditions)
        embedding = self.embed(time, label, given)
        x = given.beside(x.to(self.first.weight.dtype))
        x = self.first(torch.cat([x, torch.ones_like(x[:, :1])], dim=1))  # the ones take the place of a bias
        skips = [x]
        for descent in self.down.values():
            for stage in descent.children():
                x = stage(x, embedding)
                skips.append(x)
        for stage in self.middle:
            x = stage(x, embedding)
        for level, ascent in self.up.items():
            if level in self.resamplers:
                x = self.resamplers[level](x, embedding)
            for stage in ascent.children():
                x = stage(mp_cat(x, skips.pop(), self.skip_share), embedding)
        return self.last(x, self.gain)


def head_count(channels: int, head_width: int) -> int:
    """Return the number of attention heads.

    Raises:
        ValueError: the width of a head does not divide the channels.
    """
    if channels % head_width:
        raise ValueError(
            f"head_width={head_width} does not divide {channels} channels. Choose a divisor of width times every "
            "multiplier that attends (and the last one)."
        )
    return channels // head_width
