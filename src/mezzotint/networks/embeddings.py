"""Embeddings of the time, the class label and augmentation labels."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mezzotint.plain_data import is_integer


def data_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape (C, *size) of one example, with one, two or three sizes, as a tuple.

    Raises:
        ValueError: not two to four positive integers.
    """
    sizes = positive_integers(shape)
    if not 2 <= len(sizes) <= 4:
        raise ValueError(
            f"shape={shape} is not channels and one to three sizes: give (C, L) for series, (C, H, W) for images such "
            "as (3, 32, 32), or (C, D, H, W) for volumes and video, all positive integers."
        )
    return sizes


def image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Return the shape (C, H, W) of one image as a tuple.

    Raises:
        ValueError: not three positive integers.
    """
    sizes = positive_integers(shape)
    if len(sizes) != 3:
        raise ValueError(
            f"shape={shape} is not channels, height and width of an image, such as (3, 32, 32), and this network takes "
            "images alone: UNet, DiT, UViT and MLP take series and volumes too."
        )
    return sizes


def positive_integers(values: Sequence[int]) -> tuple[int, ...]:
    """Return a sequence of positive integers as a tuple, and the empty tuple for anything else."""
    match values:
        case [*items] if all(is_integer(item) and item >= 1 for item in items):
            return tuple(items)
    return ()


def sinusoidal(time: Tensor, width: int) -> Tensor:
    r"""Return [sin(time w_i) | cos(time w_i)] with w_i = 10000^(-i / (width/2 - 1)), i = 0 .. width/2 - 1, in float32.

    Times go up to 1000, where bfloat16 does not resolve integers: cast the result, never the time. Another common
    layout is that of `cosines_first`; weights trained with it load here without an error.

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


class SinusoidalFeatures(nn.Module):
    """`sinusoidal` as a module: (B,) -> (B, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        if width < 4 or width % 2:
            raise ValueError(f"width={width} cannot be split into sines and cosines: it must be even and at least 4.")
        self.width = width

    def forward(self, time: Tensor) -> Tensor:
        return sinusoidal(time, self.width)


class FourierFeatures(nn.Module):
    """[sin(2 pi f time) | cos(2 pi f time)] with fixed random f ~ N(0, scale^2): (B,) -> (B, width) float32.

    Source: Tancik et al. 2020, https://arxiv.org/abs/2006.10739; Song et al. 2021, appendix H.

    Args:
        width: number of features, even.
        scale: standard deviation of the frequencies.
    """

    frequencies: Tensor

    def __init__(self, width: int, scale: float = 16.0) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("frequencies", torch.randn(width // 2) * scale)

    def forward(self, time: Tensor) -> Tensor:
        angles = time.float()[:, None] * (2.0 * math.pi * self.frequencies.float())
        return torch.cat([angles.sin(), angles.cos()], dim=1)


def cosines_first(time: Tensor, width: int) -> Tensor:
    """Return [cos(time w_i) | sin(time w_i)] with w_i = 10000^(-i / (width/2)), i = 0 .. width/2 - 1, in float32.

    Source: Dhariwal and Nichol 2021 and Peebles and Xie 2023 (their code).

    Args:
        time: (B,), any dtype.
        width: even.

    Returns:
        (B, width) float32.
    """
    half = width // 2
    powers = torch.arange(half, dtype=torch.float32, device=time.device)
    angles = time.float()[:, None] * torch.exp(powers * (-math.log(10000) / half))
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class TimeEmbedding(nn.Module):
    """Sinusoidal time embedding followed by two linear layers: (B,) -> (B, outputs).

    Args:
        width: of the sinusoidal embedding; even, at least 4.
        outputs: of both layers.
        waves: the sinusoidal embedding, (time, width) -> (B, width).
        activation: between both layers.
    """

    def __init__(
        self,
        width: int,
        outputs: int,
        waves: Callable[[Tensor, int], Tensor] = sinusoidal,
        activation: Callable[[Tensor], Tensor] = functional.silu,
    ) -> None:
        super().__init__()
        if width < 4 or width % 2:
            raise ValueError(f"width={width} cannot be split into sines and cosines: it must be even and at least 4.")
        self.width, self.waves, self.activation = width, waves, activation
        self.first = nn.Linear(width, outputs)
        self.second = nn.Linear(outputs, outputs)

    def forward(self, time: Tensor) -> Tensor:
        waves = self.waves(time, self.width).to(self.first.weight.dtype)
        return self.second(self.activation(self.first(waves)))


class LabelEmbedding(nn.Module):
    """One learned vector per class, and a last one for the null label -1: (B,) int64 -> (B, outputs)."""

    def __init__(self, classes: int, outputs: int) -> None:
        super().__init__()
        self.classes = classes
        self.table = nn.Embedding(classes + 1, outputs)

    def forward(self, label: Tensor) -> Tensor:
        too_large = label >= self.classes  # out of range, so that label == classes is not taken for the null label
        return self.table(torch.where(label == -1, self.classes, label + too_large))


def scaled_one_hot(label: Tensor | None, classes: int, like: Tensor) -> Tensor:
    """Return sqrt(classes) times the one-hot code of label, and zeros for the null label -1 or None.

    Its mean square is 1, so that a linear layer on it preserves magnitudes.

    Args:
        label: (B,) int64.
        like: (B, ...), of which batch size, dtype and device are taken.

    Returns:
        (B, classes).
    """
    if label is None:
        return like.new_zeros(like.shape[0], classes)
    identity = torch.eye(classes + 1, classes, dtype=like.dtype, device=like.device) * classes**0.5  # last row: null
    too_large = label >= classes
    return functional.embedding(torch.where(label == -1, classes, label + too_large), identity)


def null_labels(batch: int, device: torch.device) -> Tensor:
    """Return the null label -1 of each example, (B,) int64."""
    return torch.full((batch,), -1, device=device)


def refuse_label(label: Tensor | None) -> None:
    """Raise ValueError if a label is given to a network without classes."""
    if label is not None:
        raise ValueError("A network built with classes=0 takes no label: leave it out, or build with classes=N.")


class Conditioning(nn.Module):
    """The conditioning vector time(t) + label(c) + augment(a); label and augment are optional."""

    def __init__(
        self,
        classes: int,
        width: int,
        outputs: int,
        augmentation: int = 0,
        waves: Callable[[Tensor, int], Tensor] = sinusoidal,
        activation: Callable[[Tensor], Tensor] = functional.silu,
    ) -> None:
        super().__init__()
        if classes < 0 or augmentation < 0:
            raise ValueError(f"classes={classes}, augmentation={augmentation}: both must be 0 (none) or more.")
        self.time = TimeEmbedding(width, outputs, waves, activation)
        self.label = LabelEmbedding(classes, outputs) if classes else None
        self.augment = nn.Linear(augmentation, outputs, bias=False) if augmentation else None

    def forward(self, time: Tensor, label: Tensor | None, augment: Tensor | None = None) -> Tensor:
        """Embed time (B,), label (B,) int64 (None: the null label) and augment (B, A) (None: zeros) to (B, outputs)."""
        return augmented(self.time_and_label(time, label), augment, self.augment)

    def time_and_label(self, time: Tensor, label: Tensor | None) -> Tensor:
        if self.label is None:
            refuse_label(label)
            return self.time(time)
        return self.time(time) + self.label(null_labels(time.shape[0], time.device) if label is None else label)


def augmented(embedding: Tensor, augment: Tensor | None, layer: nn.Linear | None) -> Tensor:
    """Return embedding + layer(augment), and the embedding itself without augmentation labels.

    Raises:
        ValueError: the network takes none, or another number of them.
    """
    if augment is None:
        return embedding
    if layer is None:
        raise ValueError(
            "A network built with augmentation=0 takes no augmentation labels: build it with "
            f"augmentation={augment.shape[1]}, or train without augment."
        )
    if augment.shape[1] != layer.in_features:
        raise ValueError(
            f"A network built with augmentation={layer.in_features} got {augment.shape[1]} labels: "
            f"build it with augmentation={augment.shape[1]}."
        )
    return embedding + layer(augment.to(layer.weight.dtype))
