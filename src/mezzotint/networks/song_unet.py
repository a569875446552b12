"""The U-Nets DDPM++ and NCSN++ of score-based models, as EDM uses them."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from mezzotint.finite import Finite
from mezzotint.instantiate.nodes import Recorded
from mezzotint.networks.attention import SelfAttention
from mezzotint.networks.conditions import Condition, ConditionEmbedder, Embedded
from mezzotint.networks.embeddings import FourierFeatures, SinusoidalFeatures, augmented, image_shape, scaled_one_hot
from mezzotint.networks.fir import FIRDown2x, doubling, halving
from mezzotint.networks.layers import ResidualBlock, Shift, group_norm
from mezzotint.networks.unet import DownLevel, Stage, UpLevel, attending, level_sizes, level_widths

SCALE = 0.5**0.5  # of sums of two terms with equal variance
GROUPS, EPS = 32, 1e-6


class SongEmbedding(nn.Module):
    """silu(W' silu(W (features(time) + label(c) + conditions + augment(a)))): (B, outputs)."""

    def __init__(self, features: nn.Module, width: int, classes: int, augmentation: int, outputs: int) -> None:
        super().__init__()
        self.features, self.classes = features, classes
        self.label = nn.Linear(classes, width) if classes else None
        self.augment = nn.Linear(augmentation, width, bias=False) if augmentation else None
        self.first = nn.Linear(width, outputs)
        self.second = nn.Linear(outputs, outputs)

    def forward(self, time: Tensor, label: Tensor | None, augment: Tensor | None, given: Embedded) -> Tensor:
        h = self.features(time).to(self.first.weight.dtype)
        if self.label is not None:
            h = h + self.label(scaled_one_hot(label, self.classes, h))
        elif label is not None:
            raise ValueError("A network built with classes=0 takes no label: leave it out, or build with classes=N.")
        h = augmented(given.added(h), augment, self.augment)
        return functional.silu(self.second(functional.silu(self.first(h))))


class ResidualInput(nn.Module):
    """FIR downsampling of a 3 x 3 convolution of the input at the level above, which joins the level below."""

    def __init__(self, inputs: int, outputs: int, taps: Sequence[float]) -> None:
        super().__init__()
        self.resample = FIRDown2x(taps)
        self.convolution = nn.Conv2d(inputs, outputs, 3, padding=1 + self.resample.padding)  # the filter pads nothing

    def forward(self, x: Tensor) -> Tensor:
        return self.resample(self.convolution(x), padding=0)


class Output(nn.Module):
    """A level's image: convolution(silu(norm(x)))."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm = group_norm(inputs, GROUPS, EPS)
        self.convolution = nn.Conv2d(inputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(functional.silu(self.norm(x)))


class SongUNet(Recorded, nn.Module, metaclass=Finite):
    """DDPM++, and with `features="fourier"`, `encoder="residual"` and `taps=(1, 3, 3, 1)` NCSN++.

    Sums of two branches are divided by sqrt(2); the encoder attends after each block at a size in `attention`, the
    decoder after the last one only. With `encoder="residual"` the input, downsampled by convolutions, joins each level;
    with `decoder="skip"` each level adds to the output, upsampled level by level.

    Source: Song et al. 2021, appendix H, https://arxiv.org/abs/2011.13456, as in Karras et al. 2022, appendix F.1,
    https://arxiv.org/abs/2206.00364. `SongUNet((3, 32, 32))` has 55,732,739 parameters.

    Args:
        shape: (C, H, W) of one image; H and W divisible by 2^(levels - 1).
        classes: 0 for none; else labels 0 .. classes - 1, and -1 for "no class".
        width: channels of the first level; even.
        multipliers: channels of each level, in multiples of width; their number is the number of levels.
        blocks: residual blocks per level of the encoder (one more in the decoder).
        attention: sizes (the shorter side of a level's feature maps) with attention; the middle always has it.
        heads: attention heads.
        dropout: dropout probability in residual blocks.
        features: of the time; "fourier" has random frequencies, and twice as many features.
        encoder, decoder: the branches beside the levels.
        taps: of the filter that resamples.
        augmentation: number of augmentation labels (`augment`; 9 for GeometricAugmentation), zeros by default.
        conditions: the kind of each further condition, by its name; those of the data in a config. Of sequences the
            mean joins the embedding.

    Raises:
        ValueError: the image size is not divisible, no level has a size in `attention`, or an unknown branch.
    """

    natural = ("blocks", "heads", "augmentation")

    def __init__(
        self,
        shape: Sequence[int],
        classes: int = 0,
        width: int = 128,
        multipliers: Sequence[float] = (2, 2, 2),
        blocks: int = 4,
        attention: Sequence[int] = (16,),
        heads: int = 1,
        dropout: float = 0.0,
        features: Literal["sinusoidal", "fourier"] = "sinusoidal",
        encoder: Literal["standard", "residual"] = "standard",
        decoder: Literal["standard", "skip"] = "standard",
        taps: Sequence[float] = (1, 1),
        augmentation: int = 0,
        conditions: Mapping[str, Condition] | None = None,
    ) -> None:
        super().__init__()
        for name, value, known in (
            ("features", features, ("sinusoidal", "fourier")),
            ("encoder", encoder, ("standard", "residual")),
            ("decoder", decoder, ("standard", "skip")),
        ):
            if value not in known:
                raise ValueError(f"{name}={value!r} is not known. Choose {known[0]!r} or {known[1]!r}.")
        channels, *size = self.shape = image_shape(shape)
        attends = attending(attention, level_sizes(size, len(multipliers)))
        widths = level_widths(width, multipliers)
        last, embedding = len(widths) - 1, 4 * width

        def stage(inputs: int, outputs: int, attends: bool, resample: nn.Module | None = None) -> Stage:
            condition = Shift(outputs, embedding, GROUPS, EPS)
            project = resample is not None
            block = ResidualBlock(inputs, outputs, condition, GROUPS, dropout, resample, 2, SCALE, project, EPS)
            return Stage(block, SelfAttention(outputs, heads, GROUPS, 2, SCALE, EPS) if attends else None)

        known = FourierFeatures(2 * width) if features == "fourier" else SinusoidalFeatures(width)
        self.embedding = SongEmbedding(known, known.width, classes, augmentation, embedding)
        self.conditions = ConditionEmbedder(conditions, known.width, size)
        inputs = channels + self.conditions.channels
        self.first = nn.Conv2d(inputs, width, 3, padding=1)
        now, kept, beside = width, [width], inputs
        self.down, self.inputs = nn.ModuleDict(), nn.ModuleDict()
        for level, target in enumerate(widths):
            stages = [stage(size, target, attends[level]) for size in [now, *[target] * (blocks - 1)]]
            resample = stage(target, target, False, halving(taps)) if level < last else None
            self.down[f"level{level}"] = DownLevel(stages, resample)
            if resample is not None and encoder == "residual":
                self.inputs[f"level{level}"] = ResidualInput(beside, target, taps)
            now = beside = target
            kept += [target] * (blocks + (level < last))

        self.middle = nn.ModuleList([stage(now, now, True), stage(now, now, False)])

        self.up, self.resamplers, self.outputs = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        for level, target in reversed(list(enumerate(widths))):
            if level < last:
                self.resamplers[f"level{level}"] = stage(now, now, False, doubling(taps))
            sizes = [now, *[target] * blocks]
            stages = [stage(n + kept.pop(), target, attends[level] and i == blocks) for i, n in enumerate(sizes)]
            self.up[f"level{level}"] = UpLevel(stages, None)
            if level == 0 or decoder == "skip":
                self.outputs[f"level{level}"] = Output(target, channels)
            now = target
        self.enlarge = doubling(taps)
        self.initialise()

    def initialise(self) -> None:
        """Draw weights as EDM does: uniformly (Xavier), scaled down where a branch joins; biases are zero."""
        for part in self.modules():
            if isinstance(part, (nn.Conv2d, nn.Linear)):
                nn.init.xavier_uniform_(part.weight)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
        with torch.no_grad():
            for part in self.modules():
                match part:
                    case ResidualBlock():
                        part.second.weight *= 1e-5
                    case SelfAttention():
                        part.project.weight *= 1e-5
                        part.qkv.weight *= math.sqrt(0.2)
                    case Output():
                        part.convolution.weight *= 1e-5

    def forward(
        self,
        x: Tensor,
        time: Tensor,
        label: Tensor | None = None,
        augment: Tensor | None = None,
        **conditions: Tensor | None,
    ) -> Tensor:
        """Map x (B, C, H, W), time (B,), label (B,) int64 and augment (B, A) to (B, C, H, W).

        Further conditions are given by name; one that is not given has its null.
        """
        given = self.conditions(x, conditions)
        embedding = self.embedding(time, label, augment, given)
        beside = x = given.beside(x.to(self.first.weight.dtype))
        x = self.first(x)
        skips = [x]
        for level, descent in self.down.items():
            x = descent(x, embedding, skips)
            if level in self.inputs:
                x = beside = skips[-1] = (x + self.inputs[level](beside)) * SCALE
        for stage in self.middle:
            x = stage(x, embedding)
        output = None
        for level, ascent in self.up.items():
            if level in self.resamplers:
                x = self.resamplers[level](x, embedding)
                output = None if output is None else self.enlarge(output)
            x = ascent(x, embedding, skips)
            if level in self.outputs:
                addition = self.outputs[level](x)
                output = addition if output is None else output + addition
        assert output is not None, "level 0 has an output"
        return output
