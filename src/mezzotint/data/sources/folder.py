"""Datasets of image files, with or without class folders."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mezzotint.data.condition_files import Column, read_conditions
from mezzotint.data.dataset import SPLITS, Dataset, check_split
from mezzotint.data.image_files.class_folders import (
    LABELS,
    TEST_NAMES,
    TRAIN_NAMES,
    Parts,
    composed,
    few,
    in_order,
    part_name,
    parts_of,
    read_labels,
    refuse_labels,
    subfolders,
)
from mezzotint.data.image_files.crops import Crop, crop_of
from mezzotint.data.image_files.formats import SUFFIXES
from mezzotint.data.image_files.image_set import Decoded, FolderImages, copies, examined, note_once, state
from mezzotint.data.image_files.listing import (
    Entry,
    apart,
    describe_unused,
    holds_pictures,
    listed,
    pictures,
    refuse_unread,
    repeats,
    walk,
)
from mezzotint.data.split import check_held_out, held_out_count, split_indices
from mezzotint.errors import DataError

SKIP = "data.skip=true skips unreadable files"


@dataclass(frozen=True, kw_only=True)
class ImageFolder(Dataset):
    """Image files below a folder, in the order of their paths, centre-cropped and resized to `shape`.

    With classes, every direct subfolder is one, ordered by name with numbers by value (2 before 10); or the labels are
    in a dataset.json, as written by the tools of StyleGAN and EDM. A subfolder `train` or `training`, in any case, is
    the training split, and the first of `test`, `testing`, `val`, `valid` and `validation` is the test split; other
    folders are reported and not used.

    Conditions are read from a file in `root`, `conditions.npz` or another one of `mezzotint.data.condition_files`.

    Args:
        root: the folder.
        enlarge: enlarge images that are smaller than `shape` instead of raising an error.
        skip: skip unusable images (unsupported, damaged, too small) instead of raising an error.
        crop: "centre", the largest box of the right proportions, bicubic; or, for squares, "adm" or "edm", the
            crop that those papers publish for ImageNet, bit for bit.
        held_out: fraction of test images if there is no test folder; with 0 both splits are the entire dataset.
        memory_limit: bytes; a dataset or split up to this size is decoded once and cached, a larger one on access.
    """

    shape: tuple[int, int, int]
    root: str
    enlarge: bool = False
    skip: bool = False
    crop: str = "centre"
    held_out: float = 0.05
    memory_limit: int = 1 << 30

    def __post_init__(self) -> None:
        super().__post_init__()
        check_held_out(self.held_out)
        if self.shape[0] not in (1, 3):
            raise DataError(f"shape={list(self.shape)}: image files are read as grey (1 channel) or RGB (3 channels).")
        self._crop()

    def preprocessing(self) -> str:
        return f"{self._crop().recipe} to {self.shape[1]}x{self.shape[2]}"

    def _crop(self) -> Crop:
        return crop_of(self.crop, (self.shape[2], self.shape[1]))

    def split(self, name: str) -> FolderImages | Decoded:
        check_split(name)
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
        if out:
            note_once(f"data: {describe_unused(sorted(out), len(files) + len(unread), 'is left out')}")
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
        train = self._parts().train
        if (labels := read_labels(train)) is not None:
            return len(set(labels.values()))
        folders = {entry.group for entry in listed(train).entries}
        return len(folders) if len(folders) > 1 and "" not in folders else 0

    def class_names(self) -> tuple[str, ...]:
        if self.names or not self.classes:
            return self.names
        train = self._parts().train
        return () if read_labels(train) is not None else self._folders(train)

    def _folders(self, train: Path) -> tuple[str, ...]:
        """Return the class folders; empty ones count only if `classes` includes them."""
        folders = [folder for folder in subfolders(train) if not repeats(folder, train)]
        filled = [folder for folder in folders if holds_pictures(folder)]
        return in_order(composed(folder.name) for folder in (filled if len(filled) == self.classes else folders))

    def labelled_by(self) -> str:
        if not self.classes:
            return ""
        return "class folders" if read_labels(self._parts().train) is None else f"{LABELS} (folders are not classes)"

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
            found = [self._read(inside, parts.train, labels)]
            if beyond := entries[len(inside) :]:
                found.append(self._read(beyond, parts.test, read_labels(parts.test) or {}))
            return torch.cat(found)
        return self._by_folder(entries, parts.train)

    def _by_folder(self, entries: Sequence[Entry], train: Path) -> torch.Tensor:
        """Return labels by class folder."""
        names = self.class_names()
        if not names:
            raise DataError(f"{self.root} has no class folders, but data.classes={self.classes}: set data.classes=0.")
        there = {composed(folder.name): folder for folder in subfolders(train)}
        for name in names:
            refuse_empty(there.get(composed(name), train / name))
        report_similar_names(names)
        if len(names) != self.classes:
            if len(names) == 1 and len(inner := subfolders(train / names[0])) > 1:
                raise DataError(
                    f"{train} holds one folder, {names[0]}, with {few([folder.name for folder in inner])} in it: if "
                    f"these are the classes, set data.root={train / names[0]}; data.classes=0 ignores the labels."
                )
            raise DataError(
                f"{self.root} has {len(names)} class folders ({few(names)}), but data.classes={self.classes}: "
                f"set data.classes={len(names)}, or 0 to ignore the labels."
            )
        number = {composed(name): i for i, name in enumerate(names)}
        outside = next((entry.file for entry in entries if entry.group not in number), None)
        if outside is not None:
            raise DataError(f"{outside} is in no class folder of the training split: move it, or set data.classes=0.")
        return torch.tensor([number[entry.group] for entry in entries], dtype=torch.int64)

    def _read(self, entries: Sequence[Entry], root: Path, labels: dict[str, int]) -> torch.Tensor:
        """Return labels by a dataset.json."""
        paths = [composed(entry.file.relative_to(root).as_posix()) for entry in entries]
        bare = next((path for path in paths if path not in labels), None)
        if bare is not None:
            raise DataError(
                f"{root / LABELS} holds the labels, but none of {bare}: add it there, remove the image, or set "
                "data.classes=0."
            )
        refuse_labels(str(root / LABELS), sorted({labels[path] for path in paths}), self.classes)
        return torch.tensor([labels[path] for path in paths], dtype=torch.int64)


def report_copies(train: Sequence[Path], test: Sequence[Path]) -> None:
    """Report test images that are also training images under another name."""
    same = copies(tuple(map(state, train)), tuple(map(state, test))) if train != test else []
    if same:
        note_once(
            f"data: {len(same):,} of {len(test):,} held-out pictures are also training pictures, such as {same[0][0]}, "
            f"identical to {same[0][1]}. Remove one of each pair, or memorisation will look like quality."
        )


def report_unused(root: Path, parts: Parts) -> None:
    """Report images that belong to neither split, and subfolders with splits of their own."""
    if parts.train == root:
        inner = next((folder for folder in subfolders(root) if divided(folder)), None)
        if inner is not None:
            note_once(
                f"data: {inner} is divided into splits itself, which are ignored here: data.root={inner} uses them."
            )
        return
    held = [(f"{count:,} in {folder}", count) for folder in parts.unused if (count := pictures(folder))]
    if loose := sum(1 for item in os.scandir(root) if item.is_file() and Path(item.name).suffix.lower() in SUFFIXES):
        held.append((f"{loose:,} directly in {root}", loose))
    if held:
        used = f"{parts.train.name} is trained on" + (f" and {parts.test.name} held out" if parts.test else "")
        note_once(
            f"data: {few([where for where, _ in held])} are not used ({used}); only pictures in these folders count."
        )


def report_missing(root: Path, labels: dict[str, int]) -> None:
    """Report labels without an image."""
    there = {composed(item.path.relative_to(root).as_posix()) for item in walk(root)}
    if gone := sorted(labels.keys() - there):
        note_once(f"data: {root / LABELS} has labels of {len(gone):,} picture(s) that do not exist, such as {gone[0]}.")


def report_similar_names(names: Sequence[str]) -> None:
    """Report classes whose names differ only in case."""
    known: dict[str, str] = {}
    for name in names:
        other = known.setdefault(name.casefold(), name)
        if other != name:
            note_once(
                f"data: {other} and {name} are two classes; to make them one, move their pictures into one folder."
            )


def divided(folder: Path) -> bool:
    """Return whether a folder has a training and a test folder."""
    names = {part_name(inside.name) for inside in subfolders(folder)}
    return bool(names & {*TRAIN_NAMES} and names & {*TEST_NAMES})


def check_alone(root: Path, train: Path) -> None:
    """Raise DataError for a folder `train` next to image folders without a test split: it may be a class."""
    for folder in (folder for folder in subfolders(root) if folder != train):
        if holds_pictures(folder):
            raise DataError(
                f"{root} has a folder {train.name} beside {folder.name}, and none named test, val or "
                f"validation. If {train.name} is the training split, set data.root={train}; if it is a class, rename "
                "it or list all classes in data.names=[...]."
            )


def refuse_empty(folder: Path) -> None:
    """Raise DataError for a class without a supported image."""
    if not folder.is_dir():
        there = few([other.name for other in subfolders(folder.parent)])
        raise DataError(f"{folder.parent} has no class folder {folder.name}; it has {there}. Restore its name.")
    if holds_pictures(folder):
        return
    others = sorted(file for file in folder.rglob("*") if file.is_file())
    held = (
        f"{len(others)} file(s) such as {others[0].name}, none of which is a supported image" if others else "nothing"
    )
    raise DataError(f"the class folder {folder} holds {held}: convert or add images, or remove the folder.")
