"""A folder of many images, by its index: the same splits, labels, errors and remarks as of a small one."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from mezzotint.data.dataset import SPLITS
from mezzotint.data.image_files.class_folders import LABELS, Parts, refuse_labels
from mezzotint.data.image_files.crops import Crop
from mezzotint.data.image_files.decoder import PictureError
from mezzotint.data.image_files.image_set import Decoded, FolderImages, examined, note_once, refuse
from mezzotint.data.image_files.layout import SKIP, left_out, numbered, outside_classes, unlabelled
from mezzotint.data.image_files.listing import describe_unused
from mezzotint.data.image_files.on_access import MANY
from mezzotint.data.index.file import NO_LABEL, ImageIndex
from mezzotint.data.index.folder import FolderSource, scanned
from mezzotint.data.index.images import FolderTable, IndexedImages, Joined
from mezzotint.data.index.scan import more_than
from mezzotint.data.index.source import current, indexed
from mezzotint.data.index.usable import bad_images, report_identical
from mezzotint.data.split import held_out_count, split_indices
from mezzotint.errors import DataError


class Wanted(Protocol):
    """The arguments of a dataset of image files."""

    @property
    def root(self) -> str: ...
    @property
    def shape(self) -> tuple[int, int, int]: ...
    @property
    def classes(self) -> int: ...
    @property
    def enlarge(self) -> bool: ...
    @property
    def skip(self) -> bool: ...
    @property
    def held_out(self) -> float: ...
    @property
    def memory_limit(self) -> int: ...
    def class_names(self) -> tuple[str, ...]: ...


def prepared(parts: Parts) -> "LargeFolder | None":
    """Return a folder by its index, if it has one that is current."""
    found = [current(FolderSource(place)) for place in places(parts)]
    return LargeFolder.of(parts, tuple(index for index in found if index)) if all(found) else None


def large(parts: Parts, each: int, memory_limit: int) -> "LargeFolder | None":
    """Return a folder of many images by its index, which is made now if there is none; None of a smaller one.

    Args:
        each: bytes of a decoded image.
        memory_limit: bytes up to which images are decoded into memory.
    """
    most = memory_limit // each
    found = prepared(parts)
    if found is None and more_than(places(parts), max(MANY, most)):
        found = LargeFolder.of(parts, tuple(indexed(FolderSource(place)) for place in places(parts)))
    return found if found is not None and len(found) > most else None


def classes_of(parts: Parts) -> tuple[str, ...] | None:
    """Return the class folders of many images, "" for the root, found without opening one; None of fewer images."""
    if (found := prepared(parts)) is not None:
        return found.groups
    return tuple(scanned(parts.train).groups) if more_than([parts.train], MANY) else None


def places(parts: Parts) -> list[Path]:
    return [place for place in (parts.train, parts.test) if place is not None]


@dataclass(frozen=True, eq=False)
class LargeFolder:
    """Images by the indexes of the training folder and the test folder, if there is one."""

    parts: Parts
    indexes: tuple[ImageIndex, ...]

    @classmethod
    def of(cls, parts: Parts, indexes: tuple[ImageIndex, ...]) -> "LargeFolder | None":
        """Return the folder; None if links lead from one of its parts to images of the other one."""
        if len(indexes) > 1 and any(index.about["linked"] for index in indexes):
            train, test = (index.column("places") for index in indexes)
            if len(np.intersect1d(train, test)):
                return None
        return cls(parts, indexes)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def table(self) -> Joined[Path]:
        return Joined(tuple(map(FolderTable, self.indexes, places(self.parts))))

    @property
    def groups(self) -> tuple[str, ...]:
        """The folders directly below the training folder that hold images, "" for the root."""
        return tuple(self.indexes[0].about["groups"])

    @property
    def classes(self) -> int:
        """The number of different labels in the dataset.json."""
        return self.indexes[0].about["classes"] or 0

    @property
    def labelled(self) -> bool:
        """True if a dataset.json holds the labels."""
        return self.indexes[0].about["classes"] is not None

    def split(self, wanted: Wanted, name: str, crop: Crop) -> IndexedImages[Path] | FolderImages | Decoded:
        """Return the images of a split. Raises DataError: some of them cannot be used."""
        self.check_read(wanted)
        table, rows = self.table, self.rows(wanted)
        labels = self.labels(wanted, rows[name]) if wanted.classes else None
        bad = self.bad(wanted, crop)
        unread = [file for file, _ in self.unread()]
        if not wanted.skip:
            refuse(sorted(bad.values(), key=lambda error: Path(str(error.file))), len(table), SKIP)
        out = [*self.unread(), *((error.file, error.reason) for error in bad.values())]
        left_out(out, len(table) + len(unread))
        usable = np.ones(len(table), bool)
        usable[list(bad)] = False
        report_identical(table, rows["train"][usable[rows["train"]]], rows["test"][usable[rows["test"]]])
        there = usable[rows[name]]
        chosen = rows[name][there]
        if not len(chosen):
            raise DataError(f"{wanted.root}: data.skip=true leaves no picture for {name}: fix some of them.")
        kept = None if labels is None else labels[torch.from_numpy(there)]
        found = IndexedImages(table, chosen, wanted.shape, kept, wanted.enlarge, crop)
        if len(chosen) > MANY or len(chosen) * math.prod(wanted.shape) > wanted.memory_limit:
            return found
        files = found.files
        return examined(files, wanted.shape, wanted.enlarge, True, crop).images(files, kept)

    def rows(self, wanted: Wanted) -> dict[str, np.ndarray]:
        """Return the numbers of the images of each split, usable or not."""
        count = len(self.indexes[0])
        if self.parts.test is not None:
            both = np.arange(len(self))
            return {"train": both[:count], "test": both[count:], "all": both}
        strata = np.unique(np.array(self.groups), return_inverse=True)[1][self.indexes[0].group]
        if wanted.classes and self.labelled:
            self.report_unused_labels()
            strata = self.written(wanted, 0, np.arange(count)).numpy()
        held_out = held_out_count(wanted.held_out, count)
        return {name: split_indices(name, strata, held_out) for name in SPLITS}

    # ---------------------------------------------------------------------------------------------------------- labels

    def labels(self, wanted: Wanted, rows: np.ndarray) -> torch.Tensor:
        """Return the labels of images of a split. Raises DataError: they are wrong, or one is missing."""
        if self.labelled:
            parts = [(number, rows[self.inside(rows, number)]) for number in range(len(self.indexes))]
            starts = self.table.starts
            return torch.cat(
                [self.written(wanted, number, part - starts[number]) for number, part in parts if len(part)]
            )
        names = wanted.class_names()
        number = numbered(Path(wanted.root), self.parts.train, names, wanted.classes, self.groups)
        found = np.concatenate(
            [
                np.array([number.get(group, -1) for group in index.about["groups"]])[index.group]
                for index in self.indexes
            ]
        )[rows]
        outside = np.flatnonzero(found < 0)
        if len(outside):
            raise outside_classes(self.table.stored(int(rows[outside[0]])))
        return torch.from_numpy(found.astype(np.int64))

    def inside(self, rows: np.ndarray, number: int) -> np.ndarray:
        """Return a mask of the rows that an index holds."""
        starts = self.table.starts
        return (rows >= starts[number]) & (rows < starts[number + 1])

    def written(self, wanted: Wanted, number: int, rows: np.ndarray) -> torch.Tensor:
        """Return the labels that the dataset.json of a folder gives to its images of these numbers."""
        root, index = places(self.parts)[number], self.indexes[number]
        found = index.label[rows]
        bare = np.flatnonzero(found == NO_LABEL)
        if len(bare):
            raise unlabelled(root, index.name(int(rows[bare[0]])))
        refuse_labels(str(root / LABELS), np.unique(found).tolist(), wanted.classes)
        return torch.from_numpy(found.astype(np.int64))

    def report_unused_labels(self) -> None:
        count, *names = self.indexes[0].about["unused_labels"]
        if count:
            note_once(
                f"data: {self.parts.train / LABELS} has labels of {count:,} picture(s) that do not exist, such as "
                f"{names[0]}."
            )

    # ---------------------------------------------------------------------------------------------- images of no use

    def unread(self) -> list[tuple[Path, str]]:
        """Return unsupported images with reasons."""
        return [
            (root / name, reason)
            for root, index in zip(places(self.parts), self.indexes, strict=True)
            for name, reason in index.about["unread"]
        ]

    def check_read(self, wanted: Wanted) -> None:
        """Raise DataError if there are unsupported images that are not skipped."""
        unread = self.unread()
        if unread and not wanted.skip:
            raise DataError(f"{describe_unused(unread, len(self) + len(unread), 'is not read')}; or {SKIP}.")

    def bad(self, wanted: Wanted, crop: Crop) -> dict[int, PictureError]:
        """Return the errors of all images that cannot be used, by their numbers."""
        starts, found = self.table.starts.tolist(), {}
        for index, start in zip(self.indexes, starts, strict=False):
            found |= bad_images(self.table, index, wanted, crop, start)
        return found
