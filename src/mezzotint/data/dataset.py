"""What every dataset is: a frozen description that is read when a split is asked for."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from mezzotint.data.image_files.class_folders import few, refuse_labels
from mezzotint.data.image_set import ImageSource, TensorImages
from mezzotint.errors import DataError
from mezzotint.instantiate.finite import Finite

SPLITS = ("train", "test", "all")
NTH = {2: "second", 4: "fourth"}


@dataclass(frozen=True, kw_only=True)
class Dataset(metaclass=Finite):
    """Images of one shape, with or without classes.

    Args:
        shape: (channels, height, width) of every image; networks take their sizes from it.
        classes: number of classes; 0 leaves the labels out.
        names: of the classes, in the order of their labels; left out, those that the data itself tells.
        flip: mirror half of the training images left and right.
    """

    shape: tuple[int, int, int]
    classes: int = 0
    flip: bool = False
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        object.__setattr__(self, "names", tuple(self.names))
        if len(self.shape) != 3 or not all(isinstance(size, int) and size > 0 for size in self.shape):
            raise DataError(
                f"shape={list(self.shape)} is no image: give [channels, height, width], such as [3, 64, 64]."
            )
        if self.classes < 0:
            raise DataError(f"classes={self.classes}: give the number of classes, or 0 for no labels.")
        if self.names and (len(self.names) != self.classes or len(set(self.names)) < len(self.names)):
            raise DataError(
                f"names gives {len(set(self.names))} different names ({few(self.names)}) to {self.classes} classes: "
                "give one to each, in the order of the labels."
            )

    @abstractmethod
    def split(self, name: str) -> ImageSource:
        """The images of "train", of "test" (held out, for validation and metrics) or of "all".

        Raises:
            DataError: where the data is missing, damaged or not as described; it names the file and the cure.
        """

    def name(self) -> str:
        """What error messages call it."""
        return type(self).__name__

    def class_names(self) -> tuple[str, ...]:
        """The names of the classes in the order of their labels; none where these are only numbers or left out.

        Raises:
            DataError: the data that tells them is not there.
        """
        return self.names

    def labelled_by(self) -> str:
        """Where labels come from that the user did not write down as numbers, in a few words."""
        return ""

    def preprocessing(self) -> str:
        """What was done to the images as they were published, for the protocol of a number."""
        return "none"


@dataclass(frozen=True, kw_only=True)
class ArrayDataset(Dataset):
    """A dataset that is read whole, as arrays."""

    @abstractmethod
    def read(self, split: str) -> tuple[np.ndarray, np.ndarray | None]:
        """The uint8 images (N, C, H, W) and the labels (N,) of one split, as they are stored."""

    def split(self, name: str) -> TensorImages:
        check_split(name)
        pixels, labels = self.read(name)
        if not len(pixels):
            raise DataError(f"{self.name()} holds no images for the split {name!r}.")
        if pixels.shape[1:] != self.shape:
            refuse_alpha(self.name(), pixels.shape[1:], self.shape)
            raise DataError(
                f"data.shape={list(self.shape)}, but the images of {self.name()} are {list(pixels.shape[1:])} "
                f"(channels, height, width): set data.shape={str(list(pixels.shape[1:])).replace(' ', '')}."
            )
        pixels = torch.from_numpy(np.require(pixels, requirements=["C", "W"]))
        if not self.classes:
            return TensorImages(pixels)
        return TensorImages(pixels, self._checked(labels, len(pixels)))

    def _checked(self, labels: np.ndarray | None, count: int) -> torch.Tensor:
        if labels is None:
            raise DataError(f"{self.name()} has no labels, but data.classes={self.classes}: set data.classes=0.")
        if labels.shape != (count,):
            raise DataError(f"{self.name()} has {count} images but labels of shape {list(labels.shape)}.")
        refuse_labels(self.name(), np.unique(labels).tolist(), self.classes)
        return torch.from_numpy(labels.astype(np.int64))


@dataclass(frozen=True, kw_only=True)
class LabelledDataset(ArrayDataset):
    """A published dataset, whose number of classes is a fact."""

    known_classes: ClassVar[int]
    known_names: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classes not in (0, self.known_classes):
            raise DataError(
                f"classes={self.classes}, but {self.name()} has {self.known_classes} classes: "
                f"set data.classes={self.known_classes}, or 0 to leave the labels out."
            )

    def class_names(self) -> tuple[str, ...]:
        return self.names or (self.known_names if self.classes else ())


def refuse_alpha(where: str, stored: Sequence[int], wanted: Sequence[int]) -> None:
    """Refuse transparency, which is no colour and nothing to be drawn, where colours are wanted."""
    if tuple(stored[1:]) == tuple(wanted[1:]) and stored[0] == wanted[0] + 1 in (2, 4):
        raise DataError(
            f"the images of {where} have {stored[0]} channels, but data.shape={list(wanted)}: drop the "
            f"{NTH[stored[0]]} channel, images[..., :{wanted[0]}], which is transparency (alpha) and no colour."
        )


def check_split(name: str) -> None:
    if name not in SPLITS:
        raise DataError(f"there is no split {name!r}: datasets have {', '.join(SPLITS)}.")
