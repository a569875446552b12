"""What a network is told beside the image: the time and the class, as vectors."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


def image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """(C, H, W) of one image, as a network is built for.

    Raises:
        ValueError: it is another thing.
    """
    sizes = tuple(shape) if isinstance(shape, Sequence) and not isinstance(shape, str) else ()
    if len(sizes) != 3 or any(not isinstance(size, int) or isinstance(size, bool) or size < 1 for size in sizes):
        raise ValueError(f"shape={shape} is not channels, height and width of an image: give three, as (3, 32, 32).")
    return sizes


def sinusoidal(time: Tensor, width: int) -> Tensor:
    r"""[sin(time w_i) | cos(time w_i)] with w_i = 10000^(-i / (width/2 - 1)), i = 0 .. width/2 - 1, always in float32.

    Times run to 1000, where bfloat16 does not tell neighbours apart: the caller casts the result, never the time.
    There is a second layout in the field, [cos | sin] with divisor width/2; weights load into the wrong one silently.

    Source: Ho, Jain and Abbeel 2020 (their code), after Vaswani et al. 2017, section 3.5.

    Args:
        time: (B,), any dtype.
        width: even, at least 4.

    Returns:
        (B, width) float32.
    """
    half = width // 2
    powers = torch.arange(half, dtype=torch.float32, device=time.device)
    angles = time.float()[:, None] * torch.exp(powers * (-math.log(10000) / (half - 1)))
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class TimeEmbedding(nn.Module):
    """Sinusoids of the time through two linear layers: (B,) -> (B, outputs)."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        if width < 4 or width % 2:
            raise ValueError(f"width={width} cannot be split into sines and cosines: it must be even and at least 4.")
        self.width = width
        self.first = nn.Linear(width, outputs)
        self.second = nn.Linear(outputs, outputs)

    def forward(self, time: Tensor) -> Tensor:
        waves = sinusoidal(time, self.width).to(self.first.weight.dtype)
        return self.second(functional.silu(self.first(waves)))


class LabelEmbedding(nn.Module):
    """One learned vector a class, and a last one for "no class": (B,) int64 -> (B, outputs). The null label is -1."""

    def __init__(self, classes: int, outputs: int) -> None:
        super().__init__()
        self.classes = classes
        self.table = nn.Embedding(classes + 1, outputs)

    def forward(self, label: Tensor) -> Tensor:
        too_large = label >= self.classes  # pushed past the table, so that label == classes does not pass for the null
        return self.table(torch.where(label == -1, self.classes, label + too_large))


class Conditioning(nn.Module):
    """All that a network is told, as one vector: time(t) + label(c) + augment(a), of which it may know time alone."""

    def __init__(self, classes: int, width: int, outputs: int, augmentation: int = 0) -> None:
        super().__init__()
        if classes < 0 or augmentation < 0:
            raise ValueError(f"classes={classes}, augmentation={augmentation}: both must be 0 (none) or more.")
        self.time = TimeEmbedding(width, outputs)
        self.label = LabelEmbedding(classes, outputs) if classes else None
        self.augment = nn.Linear(augmentation, outputs, bias=False) if augmentation else None

    def forward(self, time: Tensor, label: Tensor | None, augment: Tensor | None = None) -> Tensor:
        """time (B,), label (B,) int64 or none, the null label, augment (B, A) or none, zeros -> (B, outputs)."""
        known = self.time_and_label(time, label)
        if augment is None:
            return known
        if self.augment is None:
            raise ValueError(
                "A network built with augmentation=0 is not told how images were augmented: build it with "
                f"augmentation={augment.shape[1]}, or train without augment."
            )
        if augment.shape[1] != self.augment.in_features:
            raise ValueError(
                f"A network built with augmentation={self.augment.in_features} is told {augment.shape[1]} numbers of "
                f"how images were augmented: build it with augmentation={augment.shape[1]}."
            )
        return known + self.augment(augment.to(self.augment.weight.dtype))

    def time_and_label(self, time: Tensor, label: Tensor | None) -> Tensor:
        if self.label is None:
            if label is not None:
                raise ValueError(
                    "A network built with classes=0 takes no label: leave it out, or build with classes=N."
                )
            return self.time(time)
        if label is None:
            label = torch.full_like(time, -1, dtype=torch.int64)
        return self.time(time) + self.label(label)
