"""The codec interface."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from mezzotint.errors import DataError
from mezzotint.finite import Finite
from mezzotint.randomness import KeyedRandom

Bounds = tuple[float, float]


class Codec(metaclass=Finite):
    """A conversion between stored examples (B, C, *size) and x of about unit size, (B, C', *size').

    Attributes:
        levels: number of values that a stored number can have, evenly spread over the bounds; None unless likelihoods
            in bits can count them.
        latent: whether x is another thing than the stored numbers scaled, such as the latents of an autoencoder.
    """

    levels: ClassVar[int | None] = None
    latent: ClassVar[bool] = False

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """The type of stored numbers."""

    @property
    @abstractmethod
    def bounds(self) -> Bounds | None:
        """The lowest and the highest x that data have; None if they are unbounded."""

    @property
    @abstractmethod
    def format(self) -> str:
        """Type and rounding of decoded samples, for the evaluation protocol."""

    @abstractmethod
    def encode(self, stored: Tensor) -> Tensor:
        """Return x, float32, on the same device.

        Raises:
            DataError: the stored numbers have another type.
        """

    def draw(self, examples: Tensor, draws: KeyedRandom) -> Tensor:
        """Return x of examples for the loss: of stored ones their code, others are x already.

        Args:
            draws: of the examples, for a codec that draws x from a distribution.
        """
        return self.encode(examples) if examples.dtype == self.dtype else examples

    @abstractmethod
    def decode(self, x: Tensor) -> Tensor:
        """Return stored numbers of any floating-point x, on the same device.

        Raises:
            DataError: x contains NaN or infinity, or is not floating-point.
        """

    def numbers(self, stored: Tensor) -> Tensor:
        """Return stored examples as the numbers that measurements are made of: x, unless x is latent."""
        return self.encode(stored)

    def numbers_of(self, x: Tensor) -> Tensor:
        """Return `numbers` of x, differentiably: x itself, unless x is latent."""
        return x

    def shape(self, stored: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of x for the shape of a stored example, (C, *size)."""
        return tuple(stored)

    def is_image(self, stored: Sequence[int]) -> bool:
        """Return whether an example of this shape is an image, which PNG files and image extractors take."""
        return False

    def refuse_type(self, stored: Tensor) -> None:
        """Raise DataError for stored numbers of another type."""
        if stored.dtype != self.dtype:
            name, wanted = (str(one).removeprefix("torch.") for one in (stored.dtype, self.dtype))
            raise DataError(f"{type(self).__name__} encodes {wanted}, and was given {name}.")


def refuse_nonfinite(x: Tensor, lost: str) -> None:
    """Raise DataError for samples with NaN or infinity.

    Args:
        lost: why they cannot be stored, such as "have no pixel value".
    """
    if bad := int((~torch.isfinite(x)).sum()):
        raise DataError(
            f"{bad} of {x.numel()} values are NaN or infinite and {lost}: "
            "the model diverged, or the sampler ran outside the precision of its numbers."
        )
