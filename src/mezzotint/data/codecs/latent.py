"""The interface of codecs whose x are latents: an autoencoder maps images to means and variances, and back."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from mezzotint.data.codecs.base import Bounds, Codec
from mezzotint.data.codecs.pixels import PixelCodec
from mezzotint.data.scaling import PixelScaling
from mezzotint.errors import ConfigError, DataError
from mezzotint.randomness import KeyedRandom


@dataclass(frozen=True, kw_only=True)
class LatentCodec(Codec):
    """x = scaling (z - shift) for latents z ~ N(mean, exp(log-variance)) of images under an autoencoder.

    Training takes images, or their moments that were computed before: mean and log-variance, (B, 2 C, *size).

    Args:
        posterior: what training takes for z: "sample", a draw by the seed and the number of the example, or "mean".
        mean, std: of each channel of z; they replace shift and scaling by x = (z - mean) / std.
        batch: images that are encoded or decoded at a time.
    """

    latent: ClassVar[bool] = True

    posterior: Literal["mean", "sample"] = "mean"
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    batch: int = 16

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ConfigError(f"batch={self.batch}: give at least one image.")
        for name in ("mean", "std"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else tuple(value))
        if (self.mean is None) != (self.std is None) or len(self.mean or ()) != len(self.std or ()):
            raise ConfigError(f"mean={self.mean}, std={self.std}: give one of each to every channel, or neither.")
        if any(value <= 0 for value in self.std or ()):
            raise ConfigError(f"std={list(self.std or ())}: every deviation must be above 0.")

    @property
    def dtype(self) -> torch.dtype:
        return torch.uint8

    @property
    def bounds(self) -> Bounds | None:
        return None

    @property
    def format(self) -> str:
        return PixelCodec().format

    @property
    @abstractmethod
    def channels(self) -> int:
        """Channels of z."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of the autoencoder, its weights included."""

    @abstractmethod
    def moments(self, images: Tensor) -> Tensor:
        """Return mean and log-variance (B, 2 C, *size) of z, float32, of stored images."""

    @abstractmethod
    def reconstruct(self, z: Tensor) -> Tensor:
        """Return stored images of latents z (B, C, *size), float32."""

    def pixels(self, z: Tensor) -> Tensor:
        """Return images from -1 to 1 of latents z (B, C, *size), differentiably.

        Raises:
            ConfigError: this autoencoder has no derivative.
        """
        raise ConfigError(f"{type(self).__name__} has no derivative: measurements of its images cannot guide sampling.")

    @property
    def shift(self) -> float:
        """The latent that becomes 0, where no mean is given."""
        return 0.0

    @property
    def scaling(self) -> float:
        """The factor on latents, where no std is given."""
        return 1.0

    def is_image(self, stored: Sequence[int]) -> bool:
        return PixelCodec().is_image(stored)

    def refuse_type(self, stored: Tensor) -> None:
        if not self.are_moments(stored):
            super().refuse_type(stored)

    def are_moments(self, examples: Tensor) -> bool:
        """Return whether examples are moments, which have twice the channels of z."""
        return examples.is_floating_point() and examples.shape[1] == 2 * self.channels

    def encode(self, stored: Tensor) -> Tensor:
        self.refuse_type(stored)
        return self.standardize(self.means(stored))

    def draw(self, examples: Tensor, draws: KeyedRandom) -> Tensor:
        known = self.are_moments(examples)
        if not known and examples.dtype != self.dtype:
            return examples
        if self.posterior == "mean":
            return self.encode(examples)
        mean, logvar = (examples.float() if known else self.moments(examples)).chunk(2, 1)
        noise = draws.to(mean.device).normal("latent", mean.shape[1:]).to(mean.device)
        return self.standardize(mean + torch.exp(0.5 * logvar) * noise)

    def decode(self, x: Tensor) -> Tensor:
        if not x.is_floating_point():
            raise DataError(f"{type(self).__name__} decodes floating-point numbers, and was given {x.dtype}.")
        return self.reconstruct(self.latents(x.float()))

    def numbers(self, stored: Tensor) -> Tensor:
        return PixelScaling().to_float(stored)

    def numbers_of(self, x: Tensor) -> Tensor:
        return self.pixels(self.latents(x.float())).to(x.dtype)

    def latents(self, x: Tensor) -> Tensor:
        """Return the latents z of x."""
        if self.mean is None or self.std is None:
            return x / self.scaling + self.shift
        mean, std = per_channel(self.mean, x), per_channel(self.std, x)
        return x * std + mean

    def means(self, stored: Tensor) -> Tensor:
        """Return the mean of z, (B, C, *size), of images or their moments."""
        return (stored.float() if self.are_moments(stored) else self.moments(stored)).chunk(2, 1)[0]

    def standardize(self, z: Tensor) -> Tensor:
        """Return x of latents z."""
        if self.mean is None or self.std is None:
            return (z - self.shift) * self.scaling
        return (z - per_channel(self.mean, z)) / per_channel(self.std, z)


def per_channel(values: Sequence[float], like: Tensor) -> Tensor:
    """Return one value a channel in a shape that broadcasts over (B, C, *size)."""
    return torch.tensor(values, dtype=torch.float32, device=like.device).view(-1, *(1,) * (like.ndim - 2))
