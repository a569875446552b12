"""LMDB stores: one image a key, read in the order of the keys."""

import json
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from mezzotint.data.containers.base import Member
from mezzotint.data.containers.member_image import Beginning
from mezzotint.data.containers.member_names import is_hidden, is_image_name, member_name
from mezzotint.data.image_files.class_folders import parsed_labels, read_labels
from mezzotint.data.image_files.formats import HEAD, unread
from mezzotint.errors import DataError
from mezzotint.plain_data import as_list, is_integer

if TYPE_CHECKING:
    import lmdb

LABELLED = (b"labels", b"dataset.json")  # keys of labels, as in a dataset.json or a list of one for each image
OTHERS = (b"length", b"__len__", b"__keys__", b"num-samples", b"num_samples", *LABELLED)  # keys of no image
PICKLED = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # first bytes


@dataclass(frozen=True)
class LMDBStore:
    """The images in an LMDB store.

    Labels are those of a dataset.json beside it, or of the keys `labels` or `dataset.json`.

    Args:
        path: the store: a file, or a folder with data.mdb.
    """

    path: Path

    def shards(self) -> tuple[Path, ...]:
        return (data_file(self.path),)

    def read(self, shard: int, offset: int, size: int) -> bytes:
        store = at_hand(self.path)
        with store.environment.begin(buffers=True) as transaction:
            found = transaction.get(store.keys[offset]) if offset < len(store.keys) else None
            if found is None or len(found) != size:
                raise DataError(f"{self.path} has changed: image {offset:,} is another one now.")
            return bytes(found)

    def members(self) -> Iterator[Member]:
        with opened(self.path).environment.begin(buffers=True) as transaction:
            labels, number = self._labels(transaction), 0
            for row, (stored, value) in enumerate(transaction.cursor()):
                key = bytes(stored)
                if key in OTHERS:
                    continue
                name = member_name(shown(key), self.path)
                if not is_hidden(name) and self._is_image(name, value):
                    yield Member(name, 0, row, len(value), labels.get(name, labels.get(number)))
                    number += 1

    def _is_image(self, name: str, value: memoryview) -> bool:
        beginning = bytes(value[:HEAD])
        if is_image_name(name) or unread(Beginning(name, lambda: beginning)) is not None:
            return True
        if beginning[:2] in PICKLED:
            raise DataError(
                f"{self.path} holds a pickled object under the key {name}. A pickle is a program and is not read: "
                "store the bytes of each image file instead."
            )
        return False

    def _labels(self, transaction: "lmdb.Transaction") -> dict[str | int, int]:
        """Return labels by the name of an image, or by its number among the images."""
        folder = self.path if self.path.is_dir() else self.path.parent
        if (beside := read_labels(folder)) is not None:
            return {**beside}
        found = next(((key, value) for key in LABELLED if (value := transaction.get(key)) is not None), None)
        if found is None:
            return {}
        written, where = bytes(found[1]), f"{self.path}, key {found[0].decode()}"
        try:
            values = as_list(json.loads(written))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where} cannot be read ({error}): write it again, or remove it.") from error
        if values and all(map(is_integer, values)):
            return dict(enumerate(values))
        named = parsed_labels(written, where)
        return {**named} if named else {}


@dataclass(frozen=True, eq=False)
class Keys:
    """The keys of a store in their order, without an object for each of them."""

    joined: bytes
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, row: int) -> bytes:
        return self.joined[self.ends[row - 1] if row else 0 : self.ends[row]]


class Store:
    """An open store, with its keys in their order.

    Args:
        path: the store.

    Raises:
        DataError: it is truncated or damaged.
    """

    def __init__(self, path: Path) -> None:
        import lmdb

        self.file = data_file(path)
        try:
            self.environment = lmdb.open(
                str(path), subdir=path.is_dir(), readonly=True, lock=False, readahead=False, create=False
            )
            self._check()
            joined, ends = bytearray(), array("q")
            with self.environment.begin(buffers=True) as transaction:
                for key in transaction.cursor().iternext(values=False):
                    joined += key
                    ends.append(len(joined))
        except (lmdb.Error, OSError) as error:
            raise DataError(f"{path} cannot be read as an LMDB store ({error}): copy or download it again.") from error
        self.keys = Keys(bytes(joined), np.frombuffer(ends, np.int64))

    def _check(self) -> None:
        """Raise DataError if the file is shorter than it says: to read behind its end would end the process."""
        size = (self.environment.info()["last_pgno"] + 1) * self.environment.stat()["psize"]
        if size > os.stat(self.file).st_size:
            self.environment.close()
            raise DataError(f"{self.file} is truncated: it lacks a part of {size:,} bytes. Copy or download it again.")


State = tuple[int, int, int]  # inode, size and time of the file
_stores: dict[Path, tuple[int, State, Store]] = {}  # with the process that opened it
_lock = Lock()


def opened(path: Path) -> Store:
    """Return an open store. LMDB opens one only once in a process, and none that was opened before a fork.

    Raises:
        DataError: as `Store`.
    """
    with _lock:
        try:
            about = os.stat(data_file(path))
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}): restore it.") from error
        real, state = path.resolve(), (about.st_ino, about.st_size, about.st_mtime_ns)
        if real in _stores and _stores[real][:2] != (os.getpid(), state):
            _stores.pop(real)[2].environment.close()
        if real not in _stores:
            _stores[real] = os.getpid(), state, Store(path)
        return _stores[real][2]


def at_hand(path: Path) -> Store:
    """Return a store as `opened` does, without comparing its file again if this process has opened it."""
    found = _stores.get(path)
    return found[2] if found is not None and found[0] == os.getpid() else opened(path)


def data_file(path: Path) -> Path:
    return path / "data.mdb" if path.is_dir() else path


def shown(key: bytes) -> str:
    """Return a key as the name of an image: its text, or hexadecimal digits."""
    try:
        name = key.decode("utf-8")
        return name if name.isprintable() else key.hex()
    except UnicodeDecodeError:
        return key.hex()
