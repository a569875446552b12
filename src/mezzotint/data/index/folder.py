"""Folders of image files, to be indexed."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mezzotint.data.image_files.class_folders import LABELS, composed, read_labels
from mezzotint.data.image_files.decoder import content, unopened
from mezzotint.data.index.file import NO_LABEL, as_label, versions
from mezzotint.data.index.place import index_file
from mezzotint.data.index.scan import Scan, scan
from mezzotint.data.index.source import Listing, Source


@dataclass(frozen=True, eq=False)
class FolderListing(Listing):
    """The images of a folder, to be read for an index."""

    scan: Scan
    labels: Mapping[str, int] | None
    stamp: list[int] | None

    @classmethod
    def of(cls, root: Path) -> "FolderListing":
        """List a folder and read its labels. Raises DataError: it holds no image, or its labels are damaged."""
        stamp = labels_stamp(root)
        return cls(scanned(root), read_labels(root), stamp)

    def __len__(self) -> int:
        return len(self.scan)

    def stored(self, row: int) -> Path:
        return self.scan.root / os.fsdecode(self.scan.name(row))

    def read(self, row: int) -> bytes:
        size = self.scan.sizes[row]
        try:
            descriptor = os.open(self._above + self.scan.name(row), os.O_RDONLY | os.O_CLOEXEC)
            try:
                found = os.read(descriptor, size)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise unopened(self.stored(row), error) from error
        return found if len(found) == size else content(self.stored(row))

    @cached_property
    def _above(self) -> bytes:
        return os.path.join(os.fsencode(self.scan.root), b"")

    def versions(self, first: int, stop: int) -> np.ndarray:
        names = [self.scan.name(row) for row in range(first, stop)]
        return versions(names, self.scan.sizes[first:stop], self.scan.modified[first:stop])

    def columns(self) -> Mapping[str, np.ndarray]:
        made = self.scan
        return {
            "names": np.frombuffer(made.names, np.uint8),
            "ends": np.frombuffer(made.ends, np.int64),
            "sizes": np.frombuffer(made.sizes, np.int64),
            "modified": np.frombuffer(made.modified, np.int64),
            "places": np.frombuffer(made.places, np.int64),
            "group": np.frombuffer(made.group, np.int32),
            "label": self._labels[0],
        }

    def about(self) -> Mapping[str, Any]:
        made, gone = self.scan, self._labels[1]
        return {
            "groups": list(made.groups),
            "folders": made.folders,
            "linked": made.linked,
            "unread": [[file.relative_to(made.root).as_posix(), reason] for file, reason in made.unread],
            "labels": self.stamp,
            "classes": None if self.labels is None else len(set(self.labels.values())),
            "unused_labels": [len(gone), *gone[:1]],
        }

    @cached_property
    def _labels(self) -> tuple[np.ndarray, list[str]]:
        """The label of each image, NO_LABEL without, and names that have a label and no file."""
        found = np.full(len(self), NO_LABEL, np.int64)
        if self.labels is None:
            return found, []
        left = dict(self.labels)
        for row in range(len(self)):
            name = composed(os.fsdecode(self.scan.name(row)))
            if name in self.labels:
                found[row] = as_label(self.labels[name])
                left.pop(name, None)
        return found, sorted(name for name in left if not (self.scan.root / name).exists())


def labels_stamp(root: Path) -> list[int] | None:
    """Return what identifies the version of a folder's dataset.json; None without one."""
    try:
        about = os.stat(root / LABELS)
    except OSError:
        return None
    return [about.st_size, about.st_mtime_ns]


_scanned: list[Scan] = []  # the last one: a command first counts the classes, then reads the images


def scanned(root: Path) -> Scan:
    """Scan a folder, or return the last scan if it still holds."""
    last = _scanned.pop() if _scanned else None
    if last is None or last.root != root or not unchanged(root, last.folders):
        last = scan(root)
    _scanned[:] = [last]
    return last


def unchanged(root: Path, folders: Mapping[str, int]) -> bool:
    """Return whether folders have the same modification times: no file was added, removed or renamed."""
    try:
        return all(os.stat(root / name).st_mtime_ns == time for name, time in folders.items())
    except OSError:
        return False


@dataclass(frozen=True)
class FolderSource(Source):
    """A folder of image files; it counts as unchanged while no file was added, removed or renamed."""

    root: Path

    @property
    def file(self) -> Path:
        return index_file(self.root)

    @property
    def name(self) -> str:
        return str(self.root)

    def listing(self) -> FolderListing:
        return FolderListing.of(self.root)

    def unchanged(self, about: Mapping[str, Any]) -> bool:
        return about["labels"] == labels_stamp(self.root) and unchanged(self.root, about["folders"])
