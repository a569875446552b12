"""What a split of a dataset is: images that can be asked for by index, a whole batch at a time."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor


class ImageSource(Protocol):
    """A finite, ordered set of uint8 images of one shape, with or without labels."""

    def __len__(self) -> int: ...

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        """int64 indices (B,) -> uint8 (B, C, H, W), a copy, and int64 labels (B,), or None for an unlabelled set."""
        ...

    def digest(self) -> str:
        """A hash of the content: equal for equal images and labels in equal order, wherever they lie."""
        ...


@dataclass(frozen=True, eq=False)
class TensorImages(ImageSource):
    """One uint8 tensor (N, C, H, W), so that a batch is one indexing operation and needs no worker process."""

    pixels: Tensor
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        labels = None if self.labels is None else self.labels.index_select(0, indices)
        return self.pixels.index_select(0, indices), labels

    def digest(self) -> str:
        """Hashed once, and again where torch has written to pixels or labels since."""
        parts = (self.pixels,) if self.labels is None else (self.pixels, self.labels)
        written = tuple(0 if part.is_inference() else part._version for part in parts)
        if written not in self._digests:
            pixels = self.pixels.contiguous().numpy().data
            self._digests[written] = digest(self.pixels.shape, [pixels], self.labels)
        return self._digests[written]

    @cached_property
    def _digests(self) -> dict[tuple[int, ...], str]:
        return {}

    def take(self, indices: Tensor) -> "TensorImages":
        """The images at these indices, in this order."""
        return TensorImages(*self.batch(indices))


def labels_of(images: ImageSource) -> Tensor | None:
    """The labels of all images (N,), or None for an unlabelled set; images that keep none aside are read for them."""
    if (kept := getattr(images, "labels", None)) is not None:
        return kept
    if not len(images) or images.batch(torch.arange(1))[1] is None:
        return None
    found = [images.batch(indices)[1] for indices in torch.arange(len(images)).split(512)]
    return torch.cat([labels for labels in found if labels is not None])


def digest(shape: Sequence[int], parts: Iterable[bytes | memoryview], labels: Tensor | None) -> str:
    """sha256 of shape, dtype, bytes and labels, as 64 hexadecimal digits."""
    hashed = hashlib.sha256(f"{tuple(shape)} uint8".encode())
    for part in parts:
        hashed.update(part)
    hashed.update(b"unlabelled" if labels is None else labels.to(torch.int64).contiguous().numpy().data)
    return hashed.hexdigest()
