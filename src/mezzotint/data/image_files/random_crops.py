"""Stored images of which training sees a random crop, another one at every visit."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from mezzotint.data.image_files.crops import Crop
from mezzotint.data.image_files.on_access import OnAccess
from mezzotint.randomness import KeyedRandom


@dataclass(frozen=True, eq=False)
class RandomCrops(OnAccess):
    """Images that are cropped at a place that the random numbers of a visit determine, and without any in the centre.

    Args:
        images: the stored images, with a crop that is random.
        places: of one batch, (B, 3) uniform numbers; None crops in the centre.
    """

    images: OnAccess
    places: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def crop(self) -> Crop:  # type: ignore[override]
        return self.images.crop

    @cached_property
    def labels(self) -> Tensor | None:  # type: ignore[override]
        return self.images.labels

    def drawn(self, random: KeyedRandom) -> "RandomCrops":
        return replace(self, places=torch.stack([random.uniform("crop", axis) for axis in range(3)], 1))

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.places is None:
            return self.images.batch(indices)
        return self.cropped(indices, [self.crop.at((u, v, w)) for u, v, w in self.places.tolist()])

    def decoded(self, number: int, crop: Crop) -> np.ndarray:
        return self.images.decoded(number, crop)

    def names_and_sizes(self) -> tuple[Iterable[str], Iterable[int]]:
        return self.images.names_and_sizes()

    def digest(self) -> str:
        return self.images.digest()
