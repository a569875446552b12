"""Tables in parquet and Arrow files, read one group of rows at a time; the most recent groups stay in memory."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mezzotint.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pyarrow as pa

RECENT = 1 << 28  # bytes of groups of rows that a process keeps


class Table(Protocol):
    """The columns of one file, by groups of rows."""

    @property
    def schema(self) -> "pa.Schema": ...

    @property
    def starts(self) -> np.ndarray:
        """The number of the first row of each group, and that of all rows, (groups + 1,)."""
        ...

    @property
    def largest(self) -> int:
        """The bytes that are read for one row, at most, because others are packed with it."""
        ...

    def group(self, number: int, columns: list[str]) -> "pa.Table":
        """Return some columns of a group of rows; of image.path at least that part of the column image."""
        ...


class ParquetTable:
    """A parquet file. A group of rows is the least that can be read of it."""

    def __init__(self, path: Path) -> None:
        from pyarrow.parquet import ParquetFile

        self.file = ParquetFile(path, memory_map=False, pre_buffer=False)
        counts = [self.file.metadata.row_group(i).num_rows for i in range(self.file.num_row_groups)]
        self.schema, self.starts = self.file.schema_arrow, np.cumsum([0, *counts])

    def group(self, number: int, columns: list[str]) -> "pa.Table":
        return self.file.read_row_group(number, columns, use_threads=False)

    @property
    def largest(self) -> int:
        about = self.file.metadata
        groups = [about.row_group(number) for number in range(about.num_row_groups)]
        return max((group.total_byte_size for group in groups if group.num_rows > 1), default=0)


class ArrowTable:
    """An Arrow file, or a stream as `save_to_disk` writes it, mapped to memory: nothing is read before it is used."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        source = pa.memory_map(str(path))
        stream = source.read(6) != b"ARROW1"
        source.seek(0)
        if stream:
            self.batches = list(pa.ipc.open_stream(source))
        else:
            opened = pa.ipc.open_file(source)
            self.batches = [opened.get_batch(i) for i in range(opened.num_record_batches)]
        self.schema = self.batches[0].schema if self.batches else pa.schema([])
        self.starts = np.cumsum([0, *(len(batch) for batch in self.batches)])

    @property
    def largest(self) -> int:
        return 0

    def group(self, number: int, columns: list[str]) -> "pa.Table":
        import pyarrow as pa

        return pa.Table.from_batches([self.batches[number].select([name.partition(".")[0] for name in columns])])


class Tables:
    """The tables of several files by number, opened on first use in each process; picklable."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self.paths = paths
        self._reset()

    def _reset(self) -> None:
        self._opened: dict[int, Table] = {}
        self._recent: OrderedDict[tuple[int, int, str], pa.ChunkedArray] = OrderedDict()
        self._held, self._lock = 0, Lock()

    def __getstate__(self) -> tuple[Path, ...]:
        return self.paths

    def __setstate__(self, paths: tuple[Path, ...]) -> None:
        self.paths = paths
        self._reset()

    def __getitem__(self, shard: int) -> Table:
        """Return a table. Raises DataError: the file is damaged."""
        if shard not in self._opened:
            self._opened[shard] = opened(self.paths[shard])
        return self._opened[shard]

    def groups(self, shard: int, columns: list[str]) -> Iterator[tuple[int, "pa.Table"]]:
        """Yield the number of its first row and the columns of every group of rows. Raises DataError: as `[]`."""
        table = self[shard]
        for number, first in enumerate(table.starts[:-1].tolist()):
            yield first, self._read(shard, number, columns)

    def cell(self, shard: int, row: int, name: str, part: Callable[["pa.ChunkedArray"], "pa.ChunkedArray"]) -> Any:
        """Return the value of one row, None if there is none.

        Args:
            part: applied to the column of each group once, such as to take the bytes out of structs.
        """
        number = int(np.searchsorted(self[shard].starts, row, "right")) - 1
        with self._lock:
            key = (shard, number, name)
            if key in self._recent:
                self._recent.move_to_end(key)
            else:
                self._recent[key] = part(self._read(shard, number, [name]).column(0))
                self._held += self._recent[key].nbytes
                while self._held > RECENT and len(self._recent) > 1:
                    self._held -= self._recent.popitem(last=False)[1].nbytes
            return self._recent[key][row - int(self[shard].starts[number])].as_py()

    def _read(self, shard: int, number: int, columns: list[str]) -> "pa.Table":
        try:
            return self[shard].group(number, columns)
        except (OSError, ValueError) as error:  # pyarrow's errors are of these
            raise damaged(self.paths[shard], error) from error


def opened(path: Path) -> Table:
    """Return the table in a file. Raises DataError: it is damaged, or neither parquet nor Arrow."""
    try:
        return (ArrowTable if path.suffix == ".arrow" else ParquetTable)(path)
    except (OSError, ValueError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> DataError:
    said = " ".join(str(error).split())[:200].removesuffix(".")
    return DataError(f"{path} is truncated or damaged ({said}): copy or download it again.")


def need(package: str, choice: str) -> None:
    """Raise ConfigError if an optional package is missing."""
    if find_spec(package) is None:
        raise ConfigError(f"data={choice} needs the package {package}: pip install 'mezzotint[containers]'")
