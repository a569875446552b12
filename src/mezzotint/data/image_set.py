"""The images of a split, fetched by index in batches."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from mezzotint.randomness import KeyedRandom


class ImageSource(Protocol):
    """A finite, ordered set of examples of one shape, such as uint8 images, with or without labels."""

    def __len__(self) -> int: ...

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return a copy of the stored examples (B, C, *size), and int64 labels (B,) or None, at int64 indices (B,)."""
        ...

    def flipped(self, indices: Tensor, which: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what `batch` does, with the examples `which` (B,) bool mirrored along their last axis."""
        pixels, labels = self.batch(indices)
        chosen, array = which.numpy(), pixels.numpy()  # shares memory; numpy copies bytes five times faster here
        array[chosen] = array[chosen, ..., ::-1]
        return pixels, labels

    def drawn(self, random: KeyedRandom) -> "ImageSource":
        """Return the examples as training sees them in one batch, whose i-th index has the i-th random numbers.

        They are the examples themselves, except where each visit draws another part, such as a random crop.
        """
        return self

    def digest(self) -> str:
        """Return a hash of the content: equal for equal images and labels in equal order."""
        ...


@dataclass(frozen=True, eq=False)
class TensorImages(ImageSource):
    """Examples in one tensor (N, C, *size), such as uint8 images: a batch is one indexing operation."""

    pixels: Tensor
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        labels = None if self.labels is None else self.labels.index_select(0, indices)
        return self.pixels.index_select(0, indices), labels

    def digest(self) -> str:
        """Return the hash, computed once per version of pixels and labels."""
        parts = (self.pixels,) if self.labels is None else (self.pixels, self.labels)
        written = tuple(0 if part.is_inference() else part._version for part in parts)
        if written not in self._digests:
            pixels = self.pixels.contiguous().numpy().data
            dtype = str(self.pixels.dtype).removeprefix("torch.")
            self._digests[written] = digest(self.pixels.shape, [pixels], self.labels, dtype)
        return self._digests[written]

    @cached_property
    def _digests(self) -> dict[tuple[int, ...], str]:
        return {}

    def take(self, indices: Tensor) -> "TensorImages":
        """Return the images at these indices, in this order."""
        return TensorImages(*self.batch(indices))


def labels_of(images: ImageSource) -> Tensor | None:
    """Return the labels of all images (N,), or None without labels; reads the images if there is no `labels`."""
    if (kept := getattr(images, "labels", None)) is not None:
        return kept
    if not len(images) or images.batch(torch.arange(1))[1] is None:
        return None
    found = [images.batch(indices)[1] for indices in torch.arange(len(images)).split(512)]
    return torch.cat([labels for labels in found if labels is not None])


def digest(
    shape: Sequence[int], parts: Iterable[bytes | memoryview], labels: Tensor | None, dtype: str = "uint8"
) -> str:
    """Return the SHA-256 of shape, dtype, bytes and labels, as 64 hexadecimal digits."""
    hashed = hashlib.sha256(f"{tuple(shape)} {dtype}".encode())
    for part in parts:
        hashed.update(part)
    hashed.update(b"unlabelled" if labels is None else labels.to(torch.int64).contiguous().numpy().data)
    return hashed.hexdigest()
