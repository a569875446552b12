"""The dataset interface: a frozen description whose splits are read on demand."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from mezzotint.data.codecs.base import Codec
from mezzotint.data.codecs.pixels import PixelCodec
from mezzotint.data.conditions import Column, ConditionValues, check_derived, checked, texts_of
from mezzotint.data.image_files.class_folders import few, refuse_labels
from mezzotint.data.image_set import ImageSource, TensorImages
from mezzotint.errors import DataError
from mezzotint.finite import Finite
from mezzotint.networks.conditions import Condition, check_names
from mezzotint.networks.embeddings import positive_integers

if TYPE_CHECKING:
    from mezzotint.data.index.source import Source

SPLITS = ("train", "test", "all")
NTH = {2: "second", 4: "fourth"}


@dataclass(frozen=True, kw_only=True)
class Dataset(metaclass=Finite):
    """Examples of one shape, such as images, with or without class labels.

    Args:
        shape: (channels, *size) of every example, (channels, height, width) of images; networks are built for it.
        classes: number of classes; 0 drops the labels.
        flip: flip half of the training images horizontally.
        names: names of the classes, in the order of their labels; by default those in the data.
        codec: how stored examples become numbers for the network; None takes what suits the data.
        conditions: the kind of each condition beside the label, by its name; the data hold its values, or they are
            derived from the examples.
    """

    shape: tuple[int, ...]
    classes: int = 0
    flip: bool = False
    names: tuple[str, ...] = ()
    codec: Codec | None = None
    conditions: Mapping[str, Condition] = field(default_factory=dict, hash=False)

    ranks: ClassVar[tuple[int, ...]] = (2,)  # axes that an example may have beside its channels
    wanted: ClassVar[str] = "is not an image shape: give [channels, height, width], such as [3, 64, 64]."

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        object.__setattr__(self, "names", tuple(self.names))
        if len(self.shape) - 1 not in self.ranks or not positive_integers(self.shape):
            raise DataError(f"shape={list(self.shape)} {self.wanted}")
        try:
            check_names(self.conditions)
        except ValueError as error:
            raise DataError(f"conditions: {error}") from error
        if self.classes < 0:
            raise DataError(f"classes={self.classes}: give the number of classes, or 0 for no labels.")
        if self.names and (len(self.names) != self.classes or len(set(self.names)) < len(self.names)):
            raise DataError(
                f"names gives {len(set(self.names))} different names ({few(self.names)}) to {self.classes} classes: "
                "give one to each, in the order of the labels."
            )

    def condition_values(self, split: str) -> ConditionValues:
        """Return the conditions of the examples of a split, in their order.

        Raises:
            DataError: the data hold no values of one, or other ones than its kind says.
        """
        check_split(split)
        if not self.conditions:
            return ConditionValues()
        stored = {name: kind for name, kind in self.conditions.items() if not kind.derived}
        check_derived(self.name(), self.conditions, coded_shape(self))
        given = self.stored_conditions(split, tuple(stored)) if stored else {}
        count = len(self.split(split)) if stored else 0
        tensors = {name: checked(self.name(), name, kind, given[name], count) for name, kind in stored.items()}
        texts = {name: found for name in stored if (found := texts_of(given[name]))}
        return ConditionValues(self.conditions, tensors, codec_of(self).encode, texts)

    def stored_conditions(self, split: str, names: tuple[str, ...]) -> Mapping[str, Column]:
        """Return the stored values of these conditions, one for each example of a split: arrays, or texts.

        Raises:
            DataError: there are none.
        """
        raise DataError(
            f"data.conditions names {few(names)}, and {self.name()} holds no values of conditions: leave it out, or "
            "use data that do, such as data=image_folder with a conditions.npz."
        )

    @abstractmethod
    def split(self, name: str) -> ImageSource:
        """Return the images of "train", "test" (held out, for validation and metrics) or "all".

        Raises:
            DataError: the data is missing, damaged or not as described; the message has the file and the remedy.
        """

    def examples(self, split: str) -> ImageSource:
        """Return what training and validation read of a split: its images, or what was computed from them before."""
        return self.split(split)

    def sources(self) -> "tuple[Source, ...]":
        """Return the stored images that `mezzotint prepare` makes an index of; none of data that need none."""
        return ()

    def divided(self) -> bool:
        """Return whether the data say which examples are held out, in place of a fraction."""
        return True

    def default_codec(self) -> Codec:
        """Return the codec that suits the data: pixels, unless they are something else."""
        return PixelCodec()

    def varies(self) -> str:
        """Return the argument by which training sees another part of an example at every visit; empty for none."""
        return ""

    def name(self) -> str:
        """Return the name of the dataset in error messages."""
        return type(self).__name__

    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes in the order of their labels; empty if unknown or without labels.

        Raises:
            DataError: the data that defines them is missing.
        """
        return self.names

    def labelled_by(self) -> str:
        """Return the origin of labels that are not stored as numbers, such as class folders."""
        return ""

    def preprocessing(self) -> str:
        """Return how the published images were preprocessed, for the evaluation protocol."""
        return "none"


@dataclass(frozen=True, kw_only=True)
class ArrayDataset(Dataset):
    """A dataset that is read into memory, as arrays."""

    @abstractmethod
    def read(self, split: str) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the stored uint8 images (N, C, H, W) and labels (N,) of one split."""

    def split(self, name: str) -> TensorImages:
        check_split(name)
        pixels, labels = self.read(name)
        if not len(pixels):
            raise DataError(f"{self.name()} holds no images for the split {name!r}.")
        if pixels.shape[1:] != self.shape:
            refuse_alpha(self.name(), pixels.shape[1:], self.shape)
            image = codec_of(self).is_image(self.shape)
            nouns = ("images", "height, width") if image else ("examples", "then size")
            raise DataError(
                f"data.shape={list(self.shape)}, but the {nouns[0]} of {self.name()} are {list(pixels.shape[1:])} "
                f"(channels, {nouns[1]}): set data.shape={str(list(pixels.shape[1:])).replace(' ', '')}."
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
    """A published dataset with a known number of classes."""

    known_classes: ClassVar[int]
    known_names: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.classes not in (0, self.known_classes):
            raise DataError(
                f"classes={self.classes}, but {self.name()} has {self.known_classes} classes: "
                f"set data.classes={self.known_classes}, or 0 to ignore the labels."
            )

    def class_names(self) -> tuple[str, ...]:
        return self.names or (self.known_names if self.classes else ())


def refuse_alpha(where: str, stored: Sequence[int], wanted: Sequence[int]) -> None:
    """Raise DataError for an alpha channel in addition to the expected channels."""
    if tuple(stored[1:]) == tuple(wanted[1:]) and stored[0] == wanted[0] + 1 in (2, 4):
        raise DataError(
            f"the images of {where} have {stored[0]} channels, but data.shape={list(wanted)}: drop the "
            f"{NTH[stored[0]]} channel, images[..., :{wanted[0]}], which is transparency (alpha), not a colour."
        )


def codec_of(dataset: Any) -> Codec:
    """Return the codec of a dataset; that of pixels for an object of another kind without one."""
    chosen = getattr(dataset, "codec", None)  # a dataset of the user's own need not be a Dataset
    if chosen is not None:
        return chosen
    return dataset.default_codec() if isinstance(dataset, Dataset) else PixelCodec()


def examples_of(dataset: Any, split: str) -> ImageSource:
    """Return what training and validation read of a split; of an object of another kind its images."""
    return dataset.examples(split) if isinstance(dataset, Dataset) else dataset.split(split)


def coded_shape(dataset: Any) -> tuple[int, ...]:
    """Return the shape of a dataset's examples as the network sees them."""
    return codec_of(dataset).shape(dataset.shape)


def check_split(name: str) -> None:
    if name not in SPLITS:
        raise DataError(f"there is no split {name!r}: datasets have {', '.join(SPLITS)}.")
