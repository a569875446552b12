"""Datasets in a NumPy archive (.npz)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from mezzotint.data.arrays.files import open_array
from mezzotint.data.arrays.stored import ChosenRows
from mezzotint.data.dataset import ArrayDataset
from mezzotint.data.image_files.class_folders import few
from mezzotint.data.split import check_held_out, held_out_count, split_indices
from mezzotint.errors import DataError
from mezzotint.instantiate.locate import did_you_mean

IMAGES, LABELS = ("images", "arr_0"), ("labels", "arr_1")


PUBLISHED = (  # arrays of published datasets with splits: MedMNIST, Keras
    {"train": ("train_images", "train_labels"), "test": ("test_images", "test_labels")},
    {"train": ("x_train", "y_train"), "test": ("x_test", "y_test")},
)
Pair = tuple[np.ndarray, np.ndarray | None]


@dataclass(frozen=True, kw_only=True)
class NPZ(ArrayDataset):
    """uint8 images (N, H, W, C), (N, C, H, W) or (N, H, W) named `images` or `arr_0`; optional labels (N,).

    Files of MedMNIST and Keras are read with their own splits: `train_images` and `test_images` (`val_images` are not
    used), or `x_train` and `x_test`. Conditions are further arrays (N, ...) of their names.

    Args:
        root: the file; its labels are named `labels` or `arr_1`.
        images: name of the array of images, if different.
        labels: name of the array of labels, if different.
        held_out: fraction of test images if the file has no splits; with 0 both splits are the entire dataset.
    """

    shape: tuple[int, int, int]
    root: str
    images: str | None = None
    labels: str | None = None
    held_out: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_held_out(self.held_out)

    def name(self) -> str:
        return self.root

    def divided(self) -> bool:
        return self._divided(Archive(Path(self.root).expanduser())) is not None

    def read(self, split: str) -> Pair:
        archive = Archive(Path(self.root).expanduser())
        if parts := self._divided(archive):
            return self._part(archive, parts, split)
        pixels, numbers = self._whole(archive)
        chosen = self._chosen(split, numbers, len(pixels))
        return pixels[chosen], None if numbers is None else numbers[chosen]

    def stored_conditions(self, split: str, names: tuple[str, ...]) -> dict[str, ChosenRows]:
        """Return the arrays of these names, of a file without splits of its own."""
        archive = Archive(Path(self.root).expanduser())
        if self._divided(archive):
            raise DataError(f"{self.root} has splits of its own, without conditions: leave data.conditions out.")
        pixels, numbers = self._whole(archive)
        arrays = {name: open_array(archive.file, self._array(archive, name, ()) or name) for name in names}
        for name, array in arrays.items():
            if len(array) != len(pixels):
                raise DataError(
                    f"the condition {name!r} of {self.root} has {len(array):,} values for {len(pixels):,} images."
                )
        chosen = self._chosen(split, numbers, len(pixels))
        return {name: ChosenRows(array, chosen) for name, array in arrays.items()}

    def _chosen(self, split: str, numbers: np.ndarray | None, count: int) -> np.ndarray:
        strata = np.zeros(count, np.int64) if numbers is None else numbers
        return split_indices(split, strata, held_out_count(self.held_out, count))

    def _whole(self, archive: "Archive") -> Pair:
        """Return the images and labels of a file without splits."""
        images = self._array(archive, self.images, (*IMAGES, *(part["train"][0] for part in PUBLISHED)))
        labels = self._array(archive, self.labels, (*LABELS, *(part["train"][1] for part in PUBLISHED)))
        if images is None:
            found = archive.names()
            raise DataError(
                f"{self.root} holds {few(found, 12) or 'nothing'}, but no array `images` or `arr_0`"
                + (f": choose them, such as data.images={found[0]}." if found else ".")
            )
        return self._read(archive, images, labels)

    def _divided(self, archive: "Archive") -> dict[str, tuple[str, str]] | None:
        """Return the arrays of each split, if the file has splits and the user chose no array."""
        if self.images or self.labels or archive.choose(IMAGES):
            return None
        held = archive.names()
        return next((parts for parts in PUBLISHED if all(images in held for images, _ in parts.values())), None)

    def _part(self, archive: "Archive", parts: dict[str, tuple[str, str]], split: str) -> Pair:
        held = archive.names()
        pairs = [parts[split]] if split in parts else list(parts.values())
        read = [self._read(archive, images, labels if labels in held else None) for images, labels in pairs]
        pixels, numbers = zip(*read, strict=True)
        return np.concatenate(pixels), None if any(part is None for part in numbers) else np.concatenate(numbers)

    def _array(self, archive: "Archive", chosen: str | None, usual: Sequence[str]) -> str | None:
        """Return the name of an array: the chosen one, or the first of the usual names that exists."""
        if chosen is None:
            return archive.choose(usual)
        held = archive.names()
        if chosen not in held:
            raise DataError(f"{self.root} has no array {chosen!r}{did_you_mean(chosen, held)} ({few(held, 12)}).")
        return chosen

    def _read(self, archive: "Archive", images: str, labels: str | None) -> Pair:
        pixels = self._channels_first(archive.read(images))
        if labels is None:
            return pixels, None
        numbers = archive.read(labels)
        if numbers.shape == (len(pixels), 1):
            numbers = numbers[:, 0]
        if numbers.shape != (len(pixels),) or numbers.dtype.kind not in "iu":
            raise DataError(
                f"the labels of {self.root} ({labels}) are {numbers.dtype} of shape {list(numbers.shape)}: "
                f"store one integer for each of the {len(pixels)} images."
            )
        return pixels, numbers

    def _channels_first(self, stored: np.ndarray) -> np.ndarray:
        if stored.dtype != np.uint8:
            raise DataError(f"the images of {self.root} are {stored.dtype}: store them as uint8, 0 to 255.")
        if stored.ndim not in (3, 4):
            raise DataError(f"the images of {self.root} have shape {list(stored.shape)}: store (N, H, W, C).")
        if stored.ndim == 3:
            return stored[:, None]
        if stored.shape[1:] == self.shape:
            return stored
        last = stored.shape[-1] == self.shape[0] or stored.shape[-1] < stored.shape[1]
        return stored.transpose(0, 3, 1, 2) if last else stored


@dataclass(frozen=True)
class Archive:
    """An .npz file whose arrays are read one at a time; pickled arrays are refused.

    Every method raises DataError if the file is missing, damaged or not an archive.
    """

    file: Path
    cure: str = "give data.root=FILE with an .npz file."

    def names(self) -> list[str]:
        """Return the names of its arrays."""
        with self._opened() as arrays:
            return list(arrays.files)

    def choose(self, names: Sequence[str]) -> str | None:
        """Return the first of these names in the archive, or None."""
        held = self.names()
        return next((name for name in names if name in held), None)

    def read(self, name: str) -> np.ndarray:
        """Return one of its arrays."""
        with self._opened() as arrays:
            found = arrays[name]
            if not isinstance(found, np.ndarray):
                raise ValueError(f"{name} is not an array")
            return found

    @contextmanager
    def _opened(self) -> Iterator[NpzFile]:
        if self.file.is_dir():
            raise DataError(f"{self.file} is a folder: {self.cure} A folder of images is data=image_folder.")
        if not self.file.is_file():
            raise DataError(f"{self.file} does not exist: {self.cure}")
        try:
            with self.file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
                yield arrays
        except Exception as error:  # damaged archives can raise any exception
            raise DataError(
                f"{self.file} is not a readable .npz archive of plain arrays ({error}): write it again."
            ) from error
