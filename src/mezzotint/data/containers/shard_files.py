"""Reading of files by position: descriptors are opened on first use, at most a few at once."""

import os
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from mezzotint.data.containers.base import Container, Member
from mezzotint.errors import DataError

OPEN = 128  # files that one container keeps open


class OpenFile:
    """A file that is read at given positions, so that threads and forked processes can share its descriptor."""

    def __init__(self, path: Path) -> None:
        self.path, self.descriptor = path, os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.size = os.fstat(self.descriptor).st_size

    def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes from `offset` on; fewer at the end of the file only."""
        found = os.pread(self.descriptor, size, offset)
        while 0 < len(found) < size and (more := os.pread(self.descriptor, size - len(found), offset + len(found))):
            found += more
        return found

    def __del__(self) -> None:
        if (descriptor := self.__dict__.get("descriptor")) is not None:
            os.close(descriptor)


class ShardFiles:
    """The files of a container, by number; pickled without their descriptors."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self.paths = paths
        self._reset()

    def _reset(self) -> None:
        self._opened: OrderedDict[int, OpenFile] = OrderedDict()
        self._lock = Lock()

    def __getstate__(self) -> tuple[Path, ...]:
        return self.paths

    def __setstate__(self, paths: tuple[Path, ...]) -> None:
        self.paths = paths
        self._reset()

    def __getitem__(self, shard: int) -> OpenFile:
        """Return an open file. Raises DataError: it cannot be opened."""
        with self._lock:
            if (known := self._opened.get(shard)) is not None:
                self._opened.move_to_end(shard)
                return known
            try:
                file = self._opened[shard] = OpenFile(self.paths[shard])
            except OSError as error:
                raise DataError(f"{self.paths[shard]} cannot be read ({error.strerror}): restore it.") from error
            if len(self._opened) > OPEN:
                self._opened.popitem(last=False)  # closed once no thread reads it
            return file

    def read(self, shard: int, offset: int, size: int) -> bytes:
        """Return `size` bytes. Raises DataError: the file ends before."""
        found = self[shard].read(offset, size)
        if len(found) < size:
            raise ended(self.paths[shard])
        return found


def ended(path: Path) -> DataError:
    """Return the error of a file that is shorter than its listing says."""
    return DataError(f"{path} is truncated: it ends within an image. Copy or download it again.")


@dataclass(frozen=True)
class Archives(Container, ABC):
    """A container of archives that are read by position.

    Args:
        paths: the archives.
        prefixes: a folder before the names in each of them, such as train/, or nothing.
    """

    paths: tuple[Path, ...]
    prefixes: tuple[str, ...]
    files: ShardFiles = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", ShardFiles(self.paths))

    def shards(self) -> tuple[Path, ...]:
        return self.paths

    def members(self) -> Iterator[Member]:
        for shard, prefix in enumerate(self.prefixes):
            yield from self.members_of(shard, prefix)

    @abstractmethod
    def members_of(self, shard: int, prefix: str) -> Iterator[Member]:
        """Yield the images of one archive, as `members` does."""
