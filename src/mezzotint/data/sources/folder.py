"""Datasets of image files, with or without class folders."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mezzotint.data.condition_files import Column, read_conditions
from mezzotint.data.dataset import SPLITS, check_split
from mezzotint.data.image_files.class_folders import (
    LABELS,
    Parts,
    composed,
    in_order,
    parts_of,
    read_labels,
    refuse_labels,
    subfolders,
)
from mezzotint.data.image_files.image_set import Decoded, FolderImages, examined
from mezzotint.data.image_files.layout import (
    SKIP,
    check_alone,
    left_out,
    numbered,
    outside_classes,
    report_copies,
    report_missing,
    report_unused,
    unlabelled,
)
from mezzotint.data.image_files.listing import Entry, apart, holds_pictures, listed, refuse_unread, repeats
from mezzotint.data.index.folder import FolderSource
from mezzotint.data.index.images import IndexedImages
from mezzotint.data.index.source import Source
from mezzotint.data.sources.large_folder import LargeFolder, classes_of, large, places, prepared
from mezzotint.data.sources.pictures import Pictures
from mezzotint.data.split import held_out_count, split_indices
from mezzotint.errors import DataError


@dataclass(frozen=True, kw_only=True)
class ImageFolder(Pictures):
    """Image files below a folder, in the order of their paths, centre-cropped and resized to `shape`.

    With classes, every direct subfolder is one, ordered by name with numbers by value (2 before 10); or the labels are
    in a dataset.json, as written by the tools of StyleGAN and EDM. A subfolder `train` or `training`, in any case, is
    the training split, and the first of `test`, `testing`, `val`, `valid` and `validation` is the test split; other
    folders are reported and not used.

    Conditions are read from a file in `root`, `conditions.npz` or another one of `mezzotint.data.condition_files`.

    Args:
        root: the folder.
    """

    def split(self, name: str) -> FolderImages | Decoded | IndexedImages[Path]:
        check_split(name)
        if (found := large(self._parts(), math.prod(self.shape), self.memory_limit)) is not None:
            report_unused(Path(self.root).expanduser(), self._parts())
            return found.split(self, name, self._crop())
        parts, unread = self._entries()
        report_unused(Path(self.root).expanduser(), self._parts())
        entries = parts[name]
        labels = self._labels(entries) if self.classes else None
        files = dict.fromkeys(entry.file for part in ("train", "test") for entry in parts[part])
        small = len(files) * math.prod(self.shape) <= self.memory_limit
        whole = examined(files, self.shape, self.enlarge, small, self._crop())
        if not self.skip:
            whole.refuse_bad(SKIP)
        out = [*unread, *((error.file, error.reason) for error in whole.bad.values())]
        left_out(out, len(files) + len(unread))
        report_copies(
            *([entry.file for entry in parts[part] if entry.file not in whole.bad] for part in ("train", "test"))
        )
        rows = [i for i, entry in enumerate(entries) if entry.file not in whole.bad]
        if not rows:
            raise DataError(f"{self.root}: data.skip=true leaves no picture for {name}: fix some of them.")
        chosen = [entries[i].file for i in rows]
        if not small and len(chosen) * math.prod(self.shape) <= self.memory_limit:
            whole = examined(chosen, self.shape, self.enlarge, True, self._crop())
        return whole.images(chosen, None if labels is None else labels[rows])

    def stored_conditions(self, split: str, names: tuple[str, ...]) -> dict[str, Column]:
        """Return the values in the file of conditions beside the images, in the order of `split`."""
        root = Path(self.root).expanduser()
        paths = [composed(file.relative_to(root).as_posix()) for file in self.split(split).files]
        return read_conditions(root).values(names, paths)

    def found_classes(self) -> int:
        """Return the number of classes by dataset.json, or by class folders if they contain all images."""
        if not Path(self.root).expanduser().is_dir():
            return 0
        parts = self._parts()
        if (found := prepared(parts)) is not None and found.labelled:
            return found.classes
        if found is None and (labels := read_labels(parts.train)) is not None:
            return len(set(labels.values()))
        groups = classes_of(parts)
        folders = {entry.group for entry in listed(parts.train).entries} if groups is None else {*groups}
        return len(folders) if len(folders) > 1 and "" not in folders else 0

    def class_names(self) -> tuple[str, ...]:
        if self.names or not self.classes:
            return self.names
        parts = self._parts()
        return () if self._labelled(parts) else self._folders(parts.train, prepared(parts))

    def _labelled(self, parts: Parts) -> bool:
        """Return whether a dataset.json holds the labels."""
        found = prepared(parts)
        return read_labels(parts.train) is not None if found is None else found.labelled

    def _folders(self, train: Path, by: LargeFolder | None) -> tuple[str, ...]:
        """Return the class folders; empty ones count only if `classes` includes them."""
        folders = [folder for folder in subfolders(train) if not repeats(folder, train)]
        filled = [
            folder for folder in folders if (composed(folder.name) in by.groups if by else holds_pictures(folder))
        ]
        return in_order(composed(folder.name) for folder in (filled if len(filled) == self.classes else folders))

    def labelled_by(self) -> str:
        if not self.classes:
            return ""
        return "class folders" if not self._labelled(self._parts()) else f"{LABELS} (folders are not classes)"

    def sources(self) -> tuple[Source, ...]:
        return tuple(map(FolderSource, places(self._parts())))

    def divided(self) -> bool:
        return self._parts().test is not None

    def _parts(self) -> Parts:
        root = Path(self.root).expanduser()
        if not root.is_dir():
            raise DataError(f"{root} is not a folder: give data.root=DIR with a folder of images.")
        parts = parts_of(root, self.names)
        if parts.train != root and parts.test is None:
            check_alone(root, parts.train)
        return parts

    def _entries(self) -> tuple[dict[str, list[Entry]], list[tuple[Path, str]]]:
        """Return the files of every split, and unsupported images if they may be skipped."""
        parts = self._parts()
        listings = [listed(part) for part in (parts.train, parts.test) if part is not None]
        if not self.skip:
            refuse_unread(listings, SKIP)
        unread = [item for listing in listings for item in listing.unread]
        train = listings[0].entries
        if parts.test is not None:
            train, test = apart(train, listings[1].entries)
            return {"train": train, "test": test, "all": train + test}, unread
        strata = np.unique([entry.group for entry in train], return_inverse=True)[1]
        if self.classes and (labels := read_labels(parts.train)) is not None:
            report_missing(parts.train, labels)
            strata = self._read(train, parts.train, labels).numpy()
        held_out = held_out_count(self.held_out, len(train))
        return {name: [train[i] for i in split_indices(name, strata, held_out)] for name in SPLITS}, unread

    def _labels(self, entries: Sequence[Entry]) -> torch.Tensor:
        parts = self._parts()
        if (labels := read_labels(parts.train)) is not None:
            inside = [entry for entry in entries if entry.file.is_relative_to(parts.train)]
            found = [self._read(inside, parts.train, labels)] if inside else []
            if beyond := entries[len(inside) :]:
                found.append(self._read(beyond, parts.test, read_labels(parts.test) or {}))
            return torch.cat(found)
        return self._by_folder(entries, parts.train)

    def _by_folder(self, entries: Sequence[Entry], train: Path) -> torch.Tensor:
        """Return labels by class folder."""
        number = numbered(Path(self.root), train, self.class_names(), self.classes)
        outside = next((entry.file for entry in entries if entry.group not in number), None)
        if outside is not None:
            raise outside_classes(outside)
        return torch.tensor([number[entry.group] for entry in entries], dtype=torch.int64)

    def _read(self, entries: Sequence[Entry], root: Path, labels: dict[str, int]) -> torch.Tensor:
        """Return labels by a dataset.json."""
        paths = [composed(entry.file.relative_to(root).as_posix()) for entry in entries]
        bare = next((path for path in paths if path not in labels), None)
        if bare is not None:
            raise unlabelled(root, bare)
        refuse_labels(str(root / LABELS), sorted({labels[path] for path in paths}), self.classes)
        return torch.tensor([labels[path] for path in paths], dtype=torch.int64)
