"""The images of a split of a prepared set, decoded on access."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch

from mezzotint.data.image_files.crops import CENTRE, Crop
from mezzotint.data.image_files.decoder import decode
from mezzotint.data.image_files.formats import in_line
from mezzotint.data.image_files.on_access import OnAccess, digest_of_files
from mezzotint.data.image_files.stored import StoredImage
from mezzotint.data.index.file import ImageIndex
from mezzotint.errors import DataError

Stored_co = TypeVar("Stored_co", bound=StoredImage, covariant=True)


class ImageTable(Protocol[Stored_co]):
    """The images of an index, with their bytes; picklable."""

    def __len__(self) -> int: ...

    def stored(self, row: int) -> Stored_co:
        """Return an image, to be opened."""
        ...

    def check(self, row: int) -> None:
        """Raise DataError if an image is another one than that of the index."""
        ...

    def names(self, rows: np.ndarray) -> Iterable[str]:
        """Return the paths of images."""
        ...

    def sizes(self, rows: np.ndarray) -> np.ndarray:
        """Return the bytes of images, (n,)."""
        ...

    def shapes(self, rows: np.ndarray) -> np.ndarray:
        """Return (channels, height, width) of images, (n, 3)."""
        ...

    def hashes(self, rows: np.ndarray) -> np.ndarray:
        """Return the SHA-256 of images, (n, 32)."""
        ...


@dataclass(frozen=True, eq=False)
class IndexTable(ImageTable[Stored_co]):
    """Images whose names, sizes and hashes are those of an index."""

    index: ImageIndex

    def __len__(self) -> int:
        return len(self.index)

    def names(self, rows: np.ndarray) -> Iterable[str]:
        return self.index.all_names(rows)

    def sizes(self, rows: np.ndarray) -> np.ndarray:
        return self.index.sizes[rows]

    def shapes(self, rows: np.ndarray) -> np.ndarray:
        return self.index.shape[rows]

    def hashes(self, rows: np.ndarray) -> np.ndarray:
        return self.index.hashes[rows]


@dataclass(frozen=True, eq=False)
class FolderTable(IndexTable[Path]):
    """The files of a folder by its index."""

    root: Path

    def stored(self, row: int) -> Path:
        return self.root / self.index.name(row)

    def check(self, row: int) -> None:
        if not self.index.knows(row, self.stored(row)):
            raise DataError(
                f"{in_line(self.stored(row))} has changed since the index of {self.root} was made: `mezzotint prepare` "
                "with the same data= brings it up to date."
            )

    def names(self, rows: np.ndarray) -> Iterator[str]:
        above = os.fspath(self.root / "_").removesuffix("_")
        return (f"{above}{name}" for name in self.index.all_names(rows))


@dataclass(frozen=True, eq=False)
class Joined(ImageTable[Stored_co]):
    """Several tables, one after the other."""

    tables: tuple[ImageTable[Stored_co], ...]

    def __len__(self) -> int:
        return int(self.starts[-1])

    @cached_property
    def starts(self) -> np.ndarray:
        """The number of the first image of each table, and the number of all."""
        return np.cumsum([0, *map(len, self.tables)])

    def stored(self, row: int) -> Stored_co:
        number = int(np.searchsorted(self.starts, row, "right")) - 1
        return self.tables[number].stored(row - int(self.starts[number]))

    def check(self, row: int) -> None:
        number = int(np.searchsorted(self.starts, row, "right")) - 1
        self.tables[number].check(row - int(self.starts[number]))

    def parts(self, rows: np.ndarray) -> Iterator[tuple[ImageTable[Stored_co], np.ndarray]]:
        """Yield runs of rows of one table, with their numbers in it."""
        number = np.searchsorted(self.starts, rows, "right") - 1
        breaks = np.flatnonzero(np.diff(number)) + 1
        for part in np.split(np.arange(len(rows)), breaks) if len(rows) else ():
            which = int(number[part[0]])
            yield self.tables[which], rows[part] - self.starts[which]

    def names(self, rows: np.ndarray) -> Iterator[str]:
        return (name for table, part in self.parts(rows) for name in table.names(part))

    def sizes(self, rows: np.ndarray) -> np.ndarray:
        return joined([table.sizes(part) for table, part in self.parts(rows)], ())

    def shapes(self, rows: np.ndarray) -> np.ndarray:
        return joined([table.shapes(part) for table, part in self.parts(rows)], (3,))

    def hashes(self, rows: np.ndarray) -> np.ndarray:
        return joined([table.hashes(part) for table, part in self.parts(rows)], (32,))


def joined(parts: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros((0, *shape), np.int64)


@dataclass(frozen=True, eq=False)
class IndexedImages(OnAccess, Generic[Stored_co]):
    """Images of a table, decoded on access.

    Args:
        table: the images of the set.
        rows: their numbers (N,) in the table, in the order of the split.
        shape: (C, H, W) of the decoded images.
    """

    table: ImageTable[Stored_co]
    rows: np.ndarray
    shape: tuple[int, int, int]
    labels: torch.Tensor | None = None
    enlarge: bool = False
    crop: Crop = CENTRE

    def __len__(self) -> int:
        return len(self.rows)

    def decoded(self, number: int, crop: Crop) -> np.ndarray:
        row = int(self.rows[number])
        found = decode(self.table.stored(row), self.shape, self.enlarge, crop)
        self.table.check(row)
        return found

    @property
    def files(self) -> tuple[Stored_co, ...]:
        """The stored images, in the order of the split."""
        return tuple(self.table.stored(row) for row in self.rows.tolist())

    def names_and_sizes(self) -> tuple[Iterable[str], Iterable[int]]:
        return self.table.names(self.rows), self.table.sizes(self.rows).tolist()

    def digest(self) -> str:
        """Return the hash of the stored images, from the index for a large set."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        count, recipe = len(self), self.crop.recipe
        return digest_of_files(
            count, self.shape, recipe, self.labels, map(self.table.stored, self.rows.tolist()), self._hashes
        )

    def _hashes(self) -> Iterator[bytes]:
        for first in range(0, len(self), 1 << 16):
            yield self.table.hashes(self.rows[first : first + (1 << 16)]).tobytes()
