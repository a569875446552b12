"""What every dataset is: a frozen description that is read when a split is asked for."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from mezzotint.data.images import Images, InMemory
from mezzotint.errors import DataError

SPLITS = ("train", "test", "all")


@dataclass(frozen=True, kw_only=True)
class Dataset(ABC):
    """Images of one shape, with or without classes.

    Args:
        shape: (channels, height, width) of every image; networks take their sizes from it.
        classes: number of classes; 0 leaves the labels out.
        flip: mirror half of the training images left and right.
    """

    shape: tuple[int, int, int]
    classes: int = 0
    flip: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        if len(self.shape) != 3 or not all(isinstance(size, int) and size > 0 for size in self.shape):
            raise DataError(
                f"shape={list(self.shape)} is no image: give [channels, height, width], such as [3, 64, 64]."
            )
        if self.classes < 0:
            raise DataError(f"classes={self.classes}: give the number of classes, or 0 for no labels.")

    @abstractmethod
    def split(self, name: str) -> Images:
        """The images of "train", of "test" (held out, for validation and metrics) or of "all".

        Raises:
            DataError: where the data is missing, damaged or not as described; it names the file and the cure.
        """

    def name(self) -> str:
        """What error messages call it."""
        return type(self).__name__

    def preprocessing(self) -> str:
        """What was done to the images as they were published, for the protocol of a number."""
        return "none"


@dataclass(frozen=True, kw_only=True)
class ArrayDataset(Dataset):
    """A dataset that is read whole, as arrays."""

    @abstractmethod
    def read(self, split: str) -> tuple[np.ndarray, np.ndarray | None]:
        """The uint8 images (N, C, H, W) and the labels (N,) of one split, as they are stored."""

    def split(self, name: str) -> InMemory:
        check_split(name)
        pixels, labels = self.read(name)
        if not len(pixels):
            raise DataError(f"{self.name()} holds no images for the split {name!r}.")
        if pixels.shape[1:] != self.shape:
            raise DataError(
                f"data.shape={list(self.shape)}, but the images of {self.name()} are {list(pixels.shape[1:])} "
                f"(channels, height, width): set data.shape={str(list(pixels.shape[1:])).replace(' ', '')}."
            )
        pixels = torch.from_numpy(np.require(pixels, requirements=["C", "W"]))
        if not self.classes:
            return InMemory(pixels)
        return InMemory(pixels, self._checked(labels, len(pixels)))

    def _checked(self, labels: np.ndarray | None, count: int) -> torch.Tensor:
        if labels is None:
            raise DataError(f"{self.name()} has no labels, but data.classes={self.classes}: set data.classes=0.")
        if labels.shape != (count,):
            raise DataError(f"{self.name()} has {count} images but labels of shape {list(labels.shape)}.")
        low, high = int(labels.min()), int(labels.max())
        if low < 0:
            raise DataError(f"the labels of {self.name()} run from {low} to {high}: number the classes from 0.")
        if high >= self.classes:
            raise DataError(
                f"data.classes={self.classes}, but the labels of {self.name()} run from {low} to {high}: "
                f"set data.classes={high + 1}, or 0 to leave the labels out."
            )
        return torch.from_numpy(labels.astype(np.int64))


@dataclass(frozen=True, kw_only=True)
class KnownDataset(ArrayDataset):
    """A published dataset, whose number of classes is a fact."""

    known_classes: ClassVar[int]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classes not in (0, self.known_classes):
            raise DataError(
                f"classes={self.classes}, but {self.name()} has {self.known_classes} classes: "
                f"set data.classes={self.known_classes}, or 0 to leave the labels out."
            )


def check_split(name: str) -> None:
    if name not in SPLITS:
        raise DataError(f"there is no split {name!r}: datasets have {', '.join(SPLITS)}.")
