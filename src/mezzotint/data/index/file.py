"""The file of an index: columns of numbers that are memory-mapped, shared by all processes of a machine."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mezzotint.atomic import atomic_path, sync
from mezzotint.data.arrays.files import open_array
from mezzotint.data.arrays.stored import FileRows
from mezzotint.errors import DataError

FORMAT = 1
ABOUT = "about"  # the column that holds JSON
COLUMNS: Mapping[str, tuple[str, tuple[int, ...]]] = {  # type of a number, and shape of an entry
    "names": ("u1", ()),
    "ends": ("i8", ()),
    "sizes": ("i8", ()),
    "modified": ("i8", ()),
    "places": ("i8", ()),
    "versions": ("i8", ()),
    "shard": ("i4", ()),
    "offset": ("i8", ()),
    "group": ("i4", ()),
    "label": ("i8", ()),
    "shape": ("i4", (3,)),
    "hashes": ("u1", (32,)),
    "captions": ("u1", ()),
    "caption_ends": ("i8", ()),
}
JOINED = ("names", "captions")  # texts, without an entry for each image
NO_LABEL, HUGE = -(1 << 63), (1 << 63) - 1
AT_ONCE = 1 << 16  # names that are decoded together


@dataclass(frozen=True)
class ImageIndex:
    """The names, sizes, labels and hashes of a set of images, mapped from a file; pickled as its path.

    Columns, with one entry for each image in their order, except `names`:

        names, ends        paths below the root, joined, and where each ends
        sizes, modified    bytes, and modification time in nanoseconds
        places             hash of device and inode
        versions           hash of name, size and modification time
        shard, offset      where a container holds it
        captions           texts, joined; caption_ends: where each ends
        group              number of its folder in `about["groups"]`
        label              its class by the labels of the container; NO_LABEL without
        shape              (channels, height, width) when decoded, upright; zeros for one that cannot be
        hashes             SHA-256 of the stored bytes

    Args:
        file: the file.
        stamp: identifies its version.
    """

    file: Path
    stamp: tuple[int, int, int]

    def __len__(self) -> int:
        return len(self.ends)

    @cached_property
    def about(self) -> dict[str, Any]:
        """Entries for all images together: groups, folders, bad images with reasons."""
        return json.loads(self.column(ABOUT).tobytes())

    def complete(self) -> bool:
        """Return whether all columns are there. Raises DataError, KeyError: one is not."""
        lengths = {len(open_array(self.file, name)) for name in COLUMNS if name not in JOINED}
        return lengths == {self.about["count"]} and len(self.names) == (int(self.ends[-1]) if len(self) else 0)

    def column(self, name: str) -> np.ndarray:
        """Return a column, mapped and not read. Raises DataError: the file is damaged."""
        found = open_array(self.file, name)
        match found:
            case FileRows():
                return np.memmap(found.file, found.dtype, "r", found.offset, found.shape)
        return found.rows(np.arange(len(found)))  # an empty one

    @cached_property
    def ends(self) -> np.ndarray:
        return self.column("ends")

    @cached_property
    def names(self) -> np.ndarray:
        return self.column("names")

    @cached_property
    def sizes(self) -> np.ndarray:
        return self.column("sizes")

    @cached_property
    def modified(self) -> np.ndarray:
        return self.column("modified")

    @property
    def shape(self) -> np.ndarray:
        return self.column("shape")

    @property
    def group(self) -> np.ndarray:
        return self.column("group")

    @property
    def label(self) -> np.ndarray:
        return self.column("label")

    @property
    def hashes(self) -> np.ndarray:
        return self.column("hashes")

    def name(self, row: int) -> str:
        """Return the path of an image below the root."""
        return os.fsdecode(self.names[self.ends[row - 1] if row else 0 : self.ends[row]].tobytes())

    def caption(self, row: int) -> str:
        """Return the text of an image; empty without."""
        ends = self.column("caption_ends")
        return self.column("captions")[ends[row - 1] if row else 0 : ends[row]].tobytes().decode()

    def knows(self, row: int, file: Path) -> bool:
        """Return whether a file is the image of a row: by size and time, or else by its bytes.

        One that cannot be read counts as known: whoever decodes it says why.
        """
        try:
            about = os.stat(file)
            if about.st_size == self.sizes[row] and about.st_mtime_ns == self.modified[row]:
                return True
            return hashlib.sha256(file.read_bytes()).digest() == self.hashes[row].tobytes()
        except OSError:
            return True

    def all_names(self, rows: np.ndarray) -> Iterator[str]:
        """Yield the paths of some images, a part of them at a time in memory."""
        names, ends = self.column("names"), self.column("ends")  # unmapped at the end: most are not needed again
        for first in range(0, len(rows), AT_ONCE):
            part = rows[first : first + AT_ONCE]
            stops = ends[part]
            starts = np.where(part > 0, ends[part - 1], 0)
            low, high = int(starts.min()), int(stops.max())
            joined = names[low:high].tobytes()
            for start, stop in zip((starts - low).tolist(), (stops - low).tolist(), strict=True):
                yield os.fsdecode(joined[start:stop])

    def __reduce__(self) -> tuple[Any, ...]:
        return ImageIndex, (self.file, self.stamp)


def as_label(label: int | None) -> int:
    """Return a class as the column `label` holds it: a number beyond 64 bits, which no class has, as the nearest."""
    return NO_LABEL if label is None else max(-HUGE, min(label, HUGE))


def stamp_of(file: Path) -> tuple[int, int, int]:
    about = os.stat(file)
    return about.st_ino, about.st_size, about.st_mtime_ns


def opened(file: Path) -> ImageIndex | None:
    """Return the index in a file; None if there is none, or one that is damaged or of another version."""
    try:
        index = _opened(file, stamp_of(file))
        return index if index.about.get("format") == FORMAT and index.complete() else None
    except (OSError, ValueError, KeyError, DataError):
        return None


@lru_cache(maxsize=8)
def _opened(file: Path, stamp: tuple[int, int, int]) -> ImageIndex:
    return ImageIndex(file, stamp)


def write(file: Path, columns: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Write an index atomically; columns that are not given are zeros."""
    from safetensors.numpy import save_file

    count = len(columns["ends"])
    text = json.dumps({"format": FORMAT, "count": count} | dict(about), ensure_ascii=True).encode()
    found = {ABOUT: np.frombuffer(text, np.uint8)}
    for name, (kind, shape) in COLUMNS.items():
        missing = np.zeros((0 if name in JOINED else count, *shape), kind)
        found[name] = np.ascontiguousarray(columns.get(name, missing), kind)
    with atomic_path(file) as part:
        save_file(found, part)
        with part.open("rb+") as written:
            sync(written)


def versions(names: Sequence[bytes], sizes: Sequence[int], modified: Sequence[int]) -> np.ndarray:
    """Return a hash of 64 bits of each image's name, size and modification time."""
    found = b"".join(
        hashlib.blake2b(b"%b\0%d %d" % item, digest_size=8).digest()
        for item in zip(names, sizes, modified, strict=True)
    )
    return np.frombuffer(found, np.int64)
