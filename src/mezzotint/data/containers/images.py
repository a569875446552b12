"""The images of a container by its index: their splits, classes, labels and captions."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mezzotint.data.containers.base import Container
from mezzotint.data.containers.listing import ContainerSource
from mezzotint.data.containers.member_image import MemberImage
from mezzotint.data.image_files.class_folders import split_folders
from mezzotint.data.index.file import NO_LABEL, ImageIndex
from mezzotint.data.index.images import IndexTable
from mezzotint.data.index.source import indexed
from mezzotint.errors import DataError


@dataclass(frozen=True, eq=False)
class ContainerTable(IndexTable[MemberImage]):
    """The images of a container by its index."""

    container: Container

    def stored(self, row: int) -> MemberImage:
        place = int(self._shard[row]), int(self._offset[row]), int(self.index.sizes[row])
        return MemberImage(self.container, self.index.name(row), *place)

    def check(self, row: int) -> None:
        path, size, time = self.index.about["shards"][int(self._shard[row])]
        try:
            about = os.stat(path)
        except OSError as error:
            raise DataError(
                f"{path} was there before and cannot be read now ({error.strerror}): restore it."
            ) from error
        if about.st_size != size or about.st_mtime_ns != time:
            raise DataError(f"{path} has changed since its index was made: start again, or restore the file as it was.")

    @cached_property
    def _shard(self) -> np.ndarray:
        return self.index.column("shard")

    @cached_property
    def _offset(self) -> np.ndarray:
        return self.index.column("offset")


@dataclass(frozen=True, eq=False)
class ContainerImages:
    """A container by its index, divided into splits by the first folders of the names.

    Args:
        table: the images.
        where: the place of the container, for messages.
        groups: the first two folders of each group of the index, below a folder that contains all others.
        train: the folder of the training split; empty if the names have none.
        test: the folder of the test split; empty if the names have none.
    """

    table: ContainerTable
    where: str
    groups: tuple[tuple[str, str], ...]
    train: str = ""
    test: str = ""

    @classmethod
    def of(cls, container: Container, where: str, classes: Sequence[str] = ()) -> "ContainerImages":
        """Return the images of a container, whose index is made now unless it is there.

        Args:
            where: the place of the container, for messages.
            classes: names that are known to be classes and not splits.

        Raises:
            DataError: the container is damaged, or its splits are unclear.
        """
        index = indexed(ContainerSource(container))
        groups = folder_levels(index.about["groups"], classes)
        train, test = split_folders(where, sorted({top for top, _ in groups} - {""}), classes)
        return cls(ContainerTable(index, container), where, groups, train or "", test or "")

    @property
    def index(self) -> ImageIndex:
        return self.table.index

    def part(self, folder: str) -> np.ndarray:
        """Return the numbers of the images below a folder of the top level; of all images without a folder."""
        if not folder:
            return np.arange(len(self.table))
        inside = np.array([top == folder for top, _ in self.groups])
        return np.flatnonzero(inside[self.index.group])

    @cached_property
    def unused(self) -> dict[str, int]:
        """The number of images outside of both splits, by their folders."""
        if not self.train:
            return {}
        counts = np.bincount(self.index.group, minlength=len(self.groups)).tolist()
        found: dict[str, int] = {}
        for (top, _), count in zip(self.groups, counts, strict=True):
            if top not in (self.train, self.test):
                found[top] = found.get(top, 0) + count
        return found

    # ---------------------------------------------------------------------------------------------------------- classes

    @cached_property
    def folders(self) -> tuple[str, ...]:
        """The class folder of each group of the index, below the folder of its split; empty for none."""
        splits = (self.train, self.test)
        return tuple(below if self.train and top in splits else top for top, below in self.groups)

    @cached_property
    def labelled(self) -> bool:
        """True if the container gives labels to training images."""
        return self.kinds > 0

    @cached_property
    def kinds(self) -> int:
        """The number of different labels of training images."""
        found = np.unique(self.index.label[self.part(self.train)])
        return len(found) - int(NO_LABEL in found)

    def class_folders(self) -> set[str]:
        """Return the class folders of the training images, empty for images in none."""
        return {self.folders[group] for group in np.unique(self.index.group[self.part(self.train)]).tolist()}

    def labels(self, rows: np.ndarray) -> np.ndarray:
        """Return the stored labels of images. Raises DataError: one has none."""
        found = self.index.label[rows]
        bare = np.flatnonzero(found == NO_LABEL)
        if len(bare):
            first = self.table.stored(int(rows[bare[0]]))
            raise DataError(
                f"{len(bare):,} of {len(rows):,} pictures have no label, such as {first}: add it to the labels, remove "
                "the image, or set data.classes=0."
            )
        return found

    def by_folder(self, rows: np.ndarray, number: dict[str, int]) -> np.ndarray:
        """Return labels by class folders. Raises DataError: an image is in none of them."""
        found = np.array([number.get(folder, -1) for folder in self.folders])[self.index.group[rows]]
        outside = np.flatnonzero(found < 0)
        if len(outside):
            raise DataError(
                f"{self.table.stored(int(rows[outside[0]]))} is in no class folder of the training split: move it, or "
                "set data.classes=0."
            )
        return found

    def strata(self, rows: np.ndarray) -> np.ndarray:
        """Return a number for each image, equal for images in the same class folder."""
        return np.unique(np.array(self.folders), return_inverse=True)[1][self.index.group[rows]]

    @property
    def captioned(self) -> bool:
        """True if the container has captions."""
        return len(self.index.column("captions")) > 0

    def unread(self) -> list[tuple[Path, str]]:
        """Return unsupported images with reasons."""
        return [(Path(self.where, name), reason) for name, reason in self.index.about["unread"]]

    def captions(self, rows: np.ndarray) -> list[str]:
        """Return the captions of images, empty without."""
        ends, joined = self.index.column("caption_ends"), self.index.column("captions").tobytes()
        stops, starts = ends[rows].tolist(), np.where(rows > 0, ends[rows - 1], 0).tolist()
        return [joined[start:stop].decode() for start, stop in zip(starts, stops, strict=True)]

    def names(self, rows: np.ndarray) -> list[str]:
        return list(self.table.names(rows))


def folder_levels(groups: Sequence[str], classes: Sequence[str] = ()) -> tuple[tuple[str, str], ...]:
    """Return the first two folders of each group, empty where there are fewer.

    A folder that contains all others, as in an archive of the folder photos, is skipped, unless it is one of `classes`.
    """
    levels = [tuple(group.split("/")) for group in groups]
    tops = {level[0] for level in levels}
    skipped = int(len(tops) == 1 and not tops & {"", *classes} and all(len(level) > 1 for level in levels))
    padded = [(*level[skipped:], "", "") for level in levels]
    return tuple((level[0], level[1]) for level in padded)
