"""Arrays whose first axis is read a few entries at a time."""

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from mezzotint.errors import DataError

BLOCK = 1 << 23  # bytes that a pass over an array holds at a time


class Rows(Protocol):
    """An array of N entries."""

    @property
    def dtype(self) -> np.dtype: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """Return a copy of the entries at these indices, in this order.

        Raises:
            DataError: the file cannot be read, or has become shorter.
        """
        ...


@dataclass(frozen=True, eq=False)
class MemoryRows:
    """An array in memory, such as a compressed one, whose entries cannot be read one by one."""

    array: np.ndarray

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype.newbyteorder("=")

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def __len__(self) -> int:
        return len(self.array)

    def rows(self, indices: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(self.array[indices], self.dtype)


@dataclass(frozen=True)
class FileRows:
    """An uncompressed array in C order inside a file.

    Entries are read from their place: nothing of the file stays in the memory of the process, worker processes share
    nothing, and a file that becomes shorter is an error and not the end of the process.

    Args:
        file: the file.
        offset: of the first number, in bytes.
        stored: type of the numbers, with their byte order.
        shape: (N, ...).
    """

    file: Path
    offset: int
    stored: str
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.stored).newbyteorder("=")

    @property
    def size(self) -> int:
        """Bytes of an entry."""
        return math.prod(self.shape[1:]) * np.dtype(self.stored).itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def rows(self, indices: np.ndarray) -> np.ndarray:
        found = np.empty((len(indices), *self.shape[1:]), self.stored)
        into = memoryview(found).cast("B") if found.size else memoryview(b"")
        breaks = np.flatnonzero(np.diff(indices) != 1) + 1  # entries that lie side by side are read together
        try:
            with self.file.open("rb", buffering=0) as file:
                for first, last in zip([0, *breaks], [*breaks, len(indices)], strict=True):
                    if first < last:
                        file.seek(self.offset + int(indices[first]) * self.size)
                        self._fill(file, into[first * self.size : last * self.size])
        except OSError as error:
            raise DataError(f"{self.file} cannot be read: {error.strerror or error}.") from error
        return found.astype(self.dtype, copy=False)

    def _fill(self, file: io.FileIO, into: memoryview) -> None:
        while into:
            count = file.readinto(into)
            if not count:
                raise DataError(f"{self.file} has become shorter since it was opened: copy it again.")
            into = into[count:]


@dataclass(frozen=True, eq=False)
class ChosenRows:
    """Some entries of an array, such as those of a split.

    Args:
        array: all entries.
        chosen: numbers of those that remain, in their order.
    """

    array: Rows
    chosen: np.ndarray

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.chosen), *self.array.shape[1:])

    def __len__(self) -> int:
        return len(self.chosen)

    def rows(self, indices: np.ndarray) -> np.ndarray:
        return self.array.rows(self.chosen[indices])


def held(array: Rows, most: int) -> Rows:
    """Return an array of at most this many bytes in memory, and a larger one unread."""
    if math.prod(array.shape) * array.dtype.itemsize > most:
        return array
    return MemoryRows(array.rows(np.arange(len(array))))


def blocks(array: Rows, chosen: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Yield all entries, or the chosen ones, in parts of about 8 MB."""
    indices = np.arange(array.shape[0]) if chosen is None else chosen
    each = max(1, BLOCK // max(1, math.prod(array.shape[1:]) * array.dtype.itemsize))
    for start in range(0, len(indices), each):
        yield array.rows(indices[start : start + each])
