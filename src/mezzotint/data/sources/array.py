"""Data of any kind in one array: series, fields, volumes."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import ClassVar, cast

import numpy as np
import torch
from torch import Tensor

from mezzotint.data.arrays.files import open_array
from mezzotint.data.arrays.moments import channel_moments
from mezzotint.data.arrays.stored import ChosenRows, Rows, blocks
from mezzotint.data.codecs.base import Codec
from mezzotint.data.codecs.pixels import MOST_CHANNELS, PixelCodec
from mezzotint.data.codecs.standardize import StandardizeCodec, Stored
from mezzotint.data.dataset import Dataset, check_split
from mezzotint.data.image_files.class_folders import refuse_labels
from mezzotint.data.image_set import ImageSource, digest
from mezzotint.data.split import check_held_out, held_out_count, split_indices
from mezzotint.errors import DataError

TYPES = ("float32", "float16", "uint8", "uint16", "int16")
Moments = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True, kw_only=True)
class ArrayFile(Dataset):
    """One array (N, C, *size) with one, two or three axes of size: series, fields or volumes of any channels.

    Numbers are float32, float16, uint8, uint16 or int16. Uncompressed files are read a batch at a time. Conditions are
    further arrays (N, ...) of their names in the same file.

    Args:
        root: a .npy, .npz or .safetensors file.
        shape: (C, *size); None takes it from the file.
        member: name of the array, in a file that holds several.
        labels: name of the array of labels in the same file, or another .npy file.
        held_out: fraction of entries for validation; with 0 both splits are the entire array.
    """

    root: str
    shape: tuple[int, ...] | None = None  # type: ignore[assignment]
    member: str | None = None
    labels: str | None = None
    held_out: float = 0.1

    ranks: ClassVar[tuple[int, ...]] = (1, 2, 3)
    wanted: ClassVar[str] = "is not the shape of an entry: give [channels, length], or 2 or 3 sizes, or leave it out."

    def __post_init__(self) -> None:
        check_held_out(self.held_out)
        if self.shape is None:
            object.__setattr__(self, "shape", self.array.shape[1:])
        super().__post_init__()
        if self.flip and len(self.shape) != 3:
            raise DataError(f"flip=true mirrors fields of height and width, and shape={list(self.shape)} is none.")

    def name(self) -> str:
        return self.root

    def divided(self) -> bool:
        return False

    @cached_property
    def array(self) -> Rows:
        """The array, none of whose numbers have been read. Raises DataError: it is missing, damaged or of no use."""
        found = open_array(Path(self.root).expanduser(), self.member)
        if found.dtype.name not in TYPES:
            raise DataError(
                f"{self.root} holds {found.dtype.name}, and data are {', '.join(TYPES)}: convert it, such as by "
                "array.astype('float32')."
            )
        if len(found.shape) not in (3, 4, 5) or 0 in found.shape:
            raise DataError(
                f"{self.root} has shape {list(found.shape)}: store (N, C, length), (N, C, height, width) or "
                "(N, C, depth, height, width); array[:, None] adds the axis of a single channel."
            )
        if (
            found.dtype == np.uint8
            and len(found.shape) == 4
            and found.shape[-1] == 3
            and found.shape[1] > MOST_CHANNELS
        ):
            raise DataError(
                f"{self.root} has shape {list(found.shape)}, as images with their channels last: store (N, C, height, "
                "width), array.transpose(0, 3, 1, 2); fields of width 3 as uint16."
            )
        return found

    def default_codec(self) -> Codec:
        """Return the codec of pixels for uint8; else one of the measured mean and deviation of each channel."""
        stored = self.array.dtype.name
        if stored == "uint8":
            return PixelCodec()
        mean, std = self.moments()
        return StandardizeCodec(mean, std, cast(Stored, stored))

    def moments(self) -> Moments:
        """Return mean and deviation of each channel. Raises DataError: an entry is not finite."""
        status = Path(self.root).expanduser().stat()
        return _moments(self.root, self.member, status.st_mtime_ns, status.st_size)

    def split(self, name: str) -> "ArrayItems":
        check_split(name)
        if self.array.shape[1:] != self.shape:
            raise DataError(
                f"data.shape={list(self.shape)}, but entries of {self.root} are {list(self.array.shape[1:])}: leave "
                "data.shape out."
            )
        if self.array.dtype.kind == "f":
            self.moments()
        count = self.array.shape[0]
        labels = self._labels(count)
        strata = np.zeros(count, np.int64) if labels is None else labels
        chosen = split_indices(name, strata, held_out_count(self.held_out, count))
        return ArrayItems(self.array, chosen, None if labels is None else torch.from_numpy(labels[chosen]))

    def stored_conditions(self, split: str, names: tuple[str, ...]) -> dict[str, ChosenRows]:
        """Return the arrays of these names in the same file."""
        count = self.array.shape[0]
        labels = self._labels(count)
        strata = np.zeros(count, np.int64) if labels is None else labels
        chosen = split_indices(split, strata, held_out_count(self.held_out, count))
        found = {name: open_array(Path(self.root).expanduser(), name) for name in names}
        for name, array in found.items():
            if array.shape[0] != count:
                raise DataError(
                    f"the condition {name!r} of {self.root} has {array.shape[0]:,} values for {count:,} entries."
                )
        return {name: ChosenRows(array, chosen) for name, array in found.items()}

    def found_labels(self) -> np.ndarray | None:
        """Return the labels (N,) that `labels` names. Raises DataError."""
        if self.labels is None:
            return None
        file = Path(self.labels).expanduser()
        other = file.suffix == ".npy"
        if other and not file.is_file():
            raise DataError(f"data.labels={self.labels} does not exist: give a .npy file of one integer to each entry.")
        found = open_array(file) if other else open_array(Path(self.root).expanduser(), self.labels)
        count = self.array.shape[0]
        if found.shape != (count,) or found.dtype.kind not in "iu":
            raise DataError(
                f"labels={self.labels}: these are {found.dtype.name} {list(found.shape)}; give one integer to each of "
                f"the {count} entries."
            )
        return found.rows(np.arange(count)).astype(np.int64)

    def _labels(self, count: int) -> np.ndarray | None:
        if not self.classes:
            return None
        labels = self.found_labels()
        if labels is None:
            raise DataError(
                f"data.classes={self.classes}, but no labels are given: set data.labels, or data.classes=0."
            )
        refuse_labels(self.root, np.unique(labels).tolist(), self.classes)
        return labels


@dataclass(frozen=True, eq=False)
class ArrayItems(ImageSource):
    """Some entries of an array, read on demand."""

    array: Rows
    chosen: np.ndarray
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.chosen)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        labels = None if self.labels is None else self.labels.index_select(0, indices)
        return torch.from_numpy(self.array.rows(self.chosen[indices.numpy()])), labels

    def digest(self) -> str:
        """Return the hash, computed once."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        parts = (part.data.cast("B") for part in blocks(self.array, self.chosen))
        return digest((len(self), *self.array.shape[1:]), parts, self.labels, self.array.dtype.name)


@lru_cache(maxsize=16)
def _moments(root: str, member: str | None, *_: int) -> Moments:
    """Measure once per version of the file."""
    return channel_moments(open_array(Path(root).expanduser(), member), root)
