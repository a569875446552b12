"""Stored images that are decoded on access: their identity and their digest."""

import hashlib
import itertools
import json
import math
import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch

from mezzotint.data.image_files.crops import Crop
from mezzotint.data.image_files.decoder import addition, content
from mezzotint.data.image_files.stored import StoredImage
from mezzotint.data.image_set import ImageSource, digest

MANY, LARGE = 20_000, 1 << 30  # files and decoded bytes above which the digest is of hashes
AT_ONCE = 1 << 15  # names and sizes that are hashed together


class OnAccess(ImageSource):
    """Stored images that are decoded on access.

    Args:
        labels: of all images, (N,); None without.
        crop: how they are cropped and resized.
    """

    labels: torch.Tensor | None
    crop: Crop

    @property
    def on_access(self) -> "OnAccess":
        """The images, decoded on access."""
        return self

    @abstractmethod
    def decoded(self, number: int, crop: Crop) -> np.ndarray:
        """Return an image, uint8 (C, H, W), by its number and with this crop. Raises DataError: it cannot be read."""

    @abstractmethod
    def names_and_sizes(self) -> tuple[Iterable[str], Iterable[int]]:
        """Return path and stored bytes of each image."""

    def batch(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self.cropped(indices, [self.crop] * len(indices))

    def cropped(self, indices: torch.Tensor, crops: Sequence[Crop]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return what `batch` does, each image with a crop of its own."""
        pixels = np.stack([self.decoded(*each) for each in zip(indices.tolist(), crops, strict=True)])
        return torch.from_numpy(pixels), None if self.labels is None else self.labels[indices]


def is_large(count: int, shape: Sequence[int]) -> bool:
    """Return whether the digest of a set is that of the hashes of its files, which an index holds."""
    return count > MANY and count * math.prod(shape) > LARGE


def digest_of_files(
    count: int,
    shape: Sequence[int],
    recipe: str,
    labels: torch.Tensor | None,
    files: Iterable[StoredImage],
    hashes: Callable[[], Iterable[bytes]],
) -> str:
    """Return the hash of stored images, which are read only if the set is not large.

    Args:
        recipe: how they are cropped and resized.
        hashes: returns the SHA-256 of the images in their order.
    """
    first = recipe.encode()
    if is_large(count, shape):
        return digest((count, *shape), itertools.chain([first], hashes()), labels, "SHA-256 of uint8")
    parts = itertools.chain([first], *((stored, addition(stored)) for stored in map(content, files)))
    return digest((count, *shape), parts, labels)


def identity(images: ImageSource) -> str:
    """Return a hash of images and labels; of files that are decoded on access, of their names and sizes."""
    if not isinstance(images, OnAccess):
        return f"sha256:{images.digest()}"
    names = images.names_and_sizes()[0]
    folders = {os.path.dirname(name) for name in names}
    common = "" if "" in folders else os.path.commonpath(folders)
    top = len(common.rstrip("/")) + 1 if common else 0
    hashed = hashlib.sha256(b"[")  # of the JSON of all pairs, of which a part is held at a time
    pairs = zip(*images.names_and_sizes(), strict=True)
    between = b""
    while part := [(name[top:], size) for name, size in itertools.islice(pairs, AT_ONCE)]:
        hashed.update(between + json.dumps(part)[1:-1].encode())
        between = b", "
    hashed.update(b"]")
    return f"files:{hashed.hexdigest()}"


def hashed(file: StoredImage) -> bytes:
    """Return the SHA-256 of a stored image. Raises PictureError: it cannot be read."""
    return hashlib.sha256(content(file)).digest()
