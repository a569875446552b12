"""Preparation of an index: every image is read once, in threads; what is done is kept in parts and never done twice."""

import hashlib
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mezzotint.atomic import atomic_path, remove_partials
from mezzotint.data.image_files.decoder import PictureError, examine, header, silence
from mezzotint.data.image_files.image_set import THREADS
from mezzotint.data.image_files.stored import StoredImage
from mezzotint.data.index.file import ImageIndex, opened, write
from mezzotint.data.index.headers import size_of
from mezzotint.progress import Advance

PART = 1 << 14  # images of a part, which is written when all of them have been read
PORTION = 64  # images per task of a thread
FOUND = ("versions", "shape", "hashes")


class Listed(Protocol):
    """See `Listing`."""

    def __len__(self) -> int: ...
    def stored(self, row: int) -> StoredImage: ...
    def read(self, row: int) -> bytes: ...
    def versions(self, first: int, stop: int) -> np.ndarray: ...
    def columns(self) -> Mapping[str, np.ndarray]: ...
    def about(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Counts:
    """The numbers of images that a preparation read.

    Args:
        images: images of the set.
        read: images that were read; the others were known.
        changed: images whose bytes changed while size and modification time did not.
    """

    images: int
    read: int
    changed: int = 0


def prepare(file: Path, listed: Listed, again: bool = False, advance: Advance = lambda count: None) -> Counts:
    """Write the index of a set of images to a file.

    Images of which the file, or a part that a killed preparation left, knows this version are not read again.

    Args:
        again: read all images, whatever is known.
        advance: called with the number of images that are done.
    """
    folder, before = file.with_suffix(".parts"), opened(file)
    folder.mkdir(parents=True, exist_ok=True)
    remove_partials(folder)
    known = Known.of(folder, None if again else before)
    reads = 0
    for number, first in enumerate(range(0, len(listed), PART)):
        stop = min(first + PART, len(listed))
        part = folder / f"{number:06d}.npz"
        now = listed.versions(first, stop)
        if not same(part, now):
            reads += write_part(part, listed, first, now, known, advance)
        else:
            advance(stop - first)
    parts = [read(folder / f"{number:06d}.npz") for number in range(-(-len(listed) // PART))]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in FOUND}
    bad = [[int(row) + PART * number, *map(str, why)] for number, part in enumerate(parts) for row, *why in part["bad"]]
    changed = altered(before, joined) if again and before else 0
    write(file, {**listed.columns(), **joined}, {**listed.about(), "bad": bad})
    shutil.rmtree(folder)
    return Counts(len(listed), reads, changed)


def write_part(part: Path, listed: Listed, first: int, now: np.ndarray, known: "Known", advance: Advance) -> int:
    """Write what is found in the images of a part; return how many of them had to be read."""
    shape, hashes = np.zeros((len(now), 3), np.int32), np.zeros((len(now), 32), np.uint8)
    bad: dict[int, tuple[str, str]] = {}
    left = known.fill(now, shape, hashes)

    def portion(start: int) -> int:
        mine = left[start : start + PORTION].tolist()
        for row in mine:
            try:
                shape[row], hashes[row] = inspect(listed, first + row)
            except PictureError as error:
                bad[row] = error.reason, error.cure
        return len(mine)

    advance(len(now) - len(left))
    with silence, ThreadPoolExecutor(THREADS) as pool:
        for done in pool.map(portion, range(0, len(left), PORTION)):
            advance(done)
    rows = np.array([[str(row), *bad[row]] for row in sorted(bad)], str).reshape(-1, 3)
    with atomic_path(part) as new:
        np.savez(new, versions=now, shape=shape, hashes=hashes, bad=rows)
    return len(left)


def inspect(listed: Listed, row: int) -> tuple[tuple[int, int, int], np.ndarray]:
    """Return (channels, height, width) and the SHA-256 of an image. Raises PictureError: it cannot be decoded."""
    stored = listed.read(row)
    size = size_of(stored)
    if size is None:
        size = header(listed.stored(row))
        examine(listed.stored(row), (size[0], 1, 1), enlarge=True)
    return size, np.frombuffer(hashlib.sha256(stored).digest(), np.uint8)


def same(part: Path, now: np.ndarray) -> bool:
    try:
        return np.array_equal(read(part)["versions"], now)
    except (OSError, ValueError, KeyError):
        return False


def read(part: Path) -> Mapping[str, np.ndarray]:
    with np.load(part, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in (*FOUND, "bad")}


@dataclass(frozen=True)
class Known:
    """Sizes and hashes of images by their versions, in ascending order of these."""

    versions: np.ndarray
    shape: np.ndarray
    hashes: np.ndarray

    @classmethod
    def of(cls, folder: Path, before: ImageIndex | None) -> "Known":
        """Return what an index and the parts in a folder know; images that could not be decoded are read again."""
        tables: list[Callable[[str], np.ndarray]] = [before.column] if before else []
        for part in sorted(folder.glob("[0-9]*.npz")):
            try:
                tables.append(read(part).__getitem__)
            except (OSError, ValueError, KeyError):
                part.unlink()
        empty = {"versions": np.zeros(0, np.int64), "shape": np.zeros((0, 3), np.int32)}
        empty["hashes"] = np.zeros((0, 32), np.uint8)
        found = {name: np.concatenate([empty[name], *(table(name) for table in tables)]) for name in FOUND}
        chosen = np.flatnonzero(found["shape"][:, 1])
        order = chosen[np.argsort(found["versions"][chosen], kind="stable")]
        return cls(*(found[name][order] for name in FOUND))

    def fill(self, now: np.ndarray, shape: np.ndarray, hashes: np.ndarray) -> np.ndarray:
        """Fill in what is known of images of these versions; return the numbers of the others."""
        if not len(self.versions):
            return np.arange(len(now))
        at = np.minimum(np.searchsorted(self.versions, now), len(self.versions) - 1)
        there = self.versions[at] == now
        shape[there], hashes[there] = self.shape[at[there]], self.hashes[at[there]]
        return np.flatnonzero(~there)


def altered(before: ImageIndex, found: Mapping[str, np.ndarray]) -> int:
    """Return the number of images whose bytes changed while their version did not."""
    old, new = before.column("versions"), found["versions"]
    _, mine, theirs = np.intersect1d(new, old, return_indices=True)
    return int((found["hashes"][mine] != before.hashes[theirs]).any(1).sum())
