"""Features of data without an image network: the values themselves, and their power spectrum."""

from __future__ import annotations

import hashlib
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from mezzotint.attributes import computed
from mezzotint.data.codecs.base import Codec
from mezzotint.data.codecs.pixels import PixelCodec
from mezzotint.devices import finest
from mezzotint.errors import ConfigError
from mezzotint.metrics.extractors.base import Extractor

AXES = (1, 2, 3)  # that an example may have beside its channels


@dataclass(frozen=True)
class SimpleFeatures(Extractor):
    """Features computed without weights, of the x that the codec gives, in any number of dimensions.

    Of images with an autoencoder they are those of the pixels.

    Args:
        shape: (C, *size) of the examples; found by `resolve`.
        codec: of the examples; found by `resolve`.
    """

    shape: tuple[int, ...] = ()
    codec: Codec | None = None

    batch: ClassVar[int] = 256

    @property
    def network(self) -> nn.Module:
        return nn.Identity()

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()

    @computed
    def widths(self) -> Mapping[str, int]:
        return {"pooled": self.width}

    @property
    @abstractmethod
    def width(self) -> int:
        """Number of features of an example."""

    @abstractmethod
    def of(self, x: Tensor) -> Tensor:
        """Features (B, d) of x (B, C, *size)."""

    def validate(self, shape: tuple[int, ...]) -> None:
        if len(shape) - 1 not in AXES:
            raise ConfigError(f"extractor={self.name} takes 1 to 3 axes beside the channels, not shape={list(shape)}.")

    def resolve(self, shape: tuple[int, ...], codec: Codec | None = None) -> SimpleFeatures:
        self.validate(shape)
        same = codec is not None and codec.shape(shape) == tuple(shape)  # an autoencoder's latents are no values of it
        return replace(self, shape=tuple(shape), codec=codec if same else PixelCodec())

    def blank(self, shape: Sequence[int]) -> Tensor:
        return torch.zeros(1, *shape, dtype=(self.codec or PixelCodec()).dtype)

    def check(self, examples: Tensor) -> None:
        if tuple(examples.shape[1:]) != self.shape:
            raise ValueError(f"{self.name} is for {self.shape}, and was given {tuple(examples.shape[1:])}.")

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        codec = self.codec or PixelCodec()
        return {"pooled": self.of(codec.encode(images))}


@dataclass(frozen=True)
class RawFeatures(SimpleFeatures):
    """The values x, averaged over neighbours where an example has more than `most`.

    Args:
        most: upper bound on the number of features.
    """

    most: int = 1024

    name: ClassVar[str] = "raw"
    preprocessing: ClassVar[str] = "averaged over equal parts of each axis, where needed"

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ValueError(f"most={self.most}: give at least 1 feature.")

    @property
    def width(self) -> int:
        return self.shape[0] * math.prod(self.size) if self.shape else 0

    @property
    def size(self) -> tuple[int, ...]:
        """Sizes after averaging: the longest axis is halved until the features fit."""
        channels, *size = self.shape
        while channels * math.prod(size) > self.most and max(size) > 1:
            longest = size.index(max(size))
            size[longest] = -(-size[longest] // 2)
        return tuple(size)

    def of(self, x: Tensor) -> Tensor:
        if self.size != self.shape[1:]:
            pools = (nn.functional.adaptive_avg_pool1d, nn.functional.adaptive_avg_pool2d)
            pool = (*pools, nn.functional.adaptive_avg_pool3d)[x.dim() - 3]
            x = pool(x, self.size)
        return x.flatten(1)


@dataclass(frozen=True)
class SpectralFeatures(SimpleFeatures):
    """The logarithm of each channel's power by frequency, averaged over all directions.

    Args:
        bins: upper bound on the number of frequencies, from 0 to half a cycle a sample.
        floor: power that is added, so that absent frequencies have a finite logarithm.
    """

    bins: int = 64
    floor: float = 1e-6

    name: ClassVar[str] = "spectral"
    preprocessing: ClassVar[str] = "logarithm of the power spectrum, averaged over directions"

    def __post_init__(self) -> None:
        if self.bins < 1 or self.floor <= 0:
            raise ValueError(f"bins={self.bins}, floor={self.floor:g}: give at least 1 bin, and a floor above 0.")

    @property
    def width(self) -> int:
        return self.shape[0] * self.count if self.shape else 0

    @property
    def count(self) -> int:
        """Frequencies of a channel."""
        return min(self.bins, max(self.shape[1:]) // 2 + 1)

    def of(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        axes = tuple(range(2, x.dim()))
        power = torch.fft.fftn(finest(x), dim=axes, norm="ortho").abs().square().flatten(2)
        grids = torch.meshgrid(*(torch.fft.fftfreq(n, dtype=torch.float64) for n in size), indexing="ij")
        radius = torch.stack([grid.square() for grid in grids]).sum(0).sqrt().flatten()
        bin_of = (radius * 2 * (self.count - 1)).round().long().clamp_(max=self.count - 1).to(x.device)
        sums = power.new_zeros(*power.shape[:2], self.count).index_add_(2, bin_of, power)
        members = torch.bincount(bin_of, minlength=self.count).clamp_(min=1)
        return (sums / members + self.floor).log().flatten(1).float()


@dataclass(frozen=True)
class ModuleFeatures(SimpleFeatures):
    """The output of a module of the user's own on x, flattened.

    Args:
        module: x (B, C, *size) -> (B, ...); its weights and class enter the digest.
    """

    module: nn.Module | None = None

    name: ClassVar[str] = "module"
    preprocessing: ClassVar[str] = "none"

    @property
    def network(self) -> nn.Module:
        if self.module is None:
            raise ConfigError("extractor=module needs module= with the _target_ of a torch.nn.Module.")
        return self.module.eval()

    @property
    def digest(self) -> str:
        weights = b"".join(value.cpu().contiguous().numpy().tobytes() for value in self.network.state_dict().values())
        return hashlib.sha256(repr(self.network).encode() + weights).hexdigest()

    @property
    def width(self) -> int:
        return self.of(torch.zeros(1, *self.shape)).shape[1] if self.shape else 0

    def of(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.network(x).flatten(1)
