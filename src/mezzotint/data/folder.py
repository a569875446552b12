"""A folder of image files: PNG, JPEG and WebP, flat or with a folder for each class."""

import itertools
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from mezzotint.data.class_folders import (
    LABELS,
    Parts,
    few,
    in_order,
    parts_of,
    read_labels,
    refuse_labels,
    subfolders,
)
from mezzotint.data.dataset import Dataset, check_split
from mezzotint.data.holdout import check_held_out, part, share
from mezzotint.data.images import Images, InMemory, digest
from mezzotint.data.picture import RECIPE, check_header, decode
from mezzotint.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True, kw_only=True)
class ImageFolder(Dataset):
    """Image files below a folder, in the order of their paths, cut to the middle and resized to `shape`.

    With classes, every folder directly below the root is one, in the order of their names, numbers by their value
    (2 before 10); or dataset.json there gives the labels, as StyleGAN's and EDM's tools write it. Where the root has a
    folder `train` or `training`, in any case of letters, that is the training part, and `test`, `testing`, `val`,
    `valid` or `validation` beside it is the test part.

    Args:
        root: the folder.
        enlarge: whether images that are smaller than `shape` are enlarged, and not refused.
        held_out: fraction of the images that the test part has where no folder gives it; with 0 both are the whole.
        memory_limit: bytes; a part that takes no more is decoded once and kept, a larger one is decoded when used.
    """

    root: str
    enlarge: bool = False
    held_out: float = 0.05
    memory_limit: int = 1 << 30

    def __post_init__(self) -> None:
        super().__post_init__()
        check_held_out(self.held_out)
        if self.shape[0] not in (1, 3):
            raise DataError(f"shape={list(self.shape)}: image files are read as grey (1 channel) or RGB (3 channels).")

    def preprocessing(self) -> str:
        return f"{RECIPE.decode()} to {self.shape[1]}x{self.shape[2]}"

    def split(self, name: str) -> Images:
        check_split(name)
        entries = self._entries(name)
        files = tuple(entry.file for entry in entries)
        folder = FolderImages(files, self.shape, self._labels(entries) if self.classes else None, self.enlarge)
        if len(files) * math.prod(self.shape) <= self.memory_limit:
            return folder.loaded()
        folder.check()
        return folder

    def class_names(self) -> tuple[str, ...]:
        if self.names or not self.classes:
            return self.names
        train = self._parts().train
        return () if read_labels(train) is not None else self._folders(train)

    def _folders(self, train: Path) -> tuple[str, ...]:
        """The class folders; one without images is none, unless it is counted as one."""
        folders = [folder for folder in subfolders(train) if not leads_back(folder)]
        filled = [folder for folder in folders if holds_images(folder)]
        return in_order(folder.name for folder in (filled if len(filled) == self.classes else folders))

    def labelled_by(self) -> str:
        if not self.classes:
            return ""
        return "class folders" if read_labels(self._parts().train) is None else f"{LABELS} (folders are no classes)"

    def _parts(self) -> Parts:
        root = Path(self.root).expanduser()
        if not root.is_dir():
            raise DataError(f"{root} is no folder: give data.root=DIR with a folder of images.")
        parts = parts_of(root, self.names)
        if parts.train != root and parts.test is None:
            check_alone(root, parts.train)
        return parts

    def _entries(self, split: str) -> list["Entry"]:
        """The files of a split."""
        parts = self._parts()
        train = listed(parts.train)
        if parts.test is None:
            strata = np.unique([entry.group for entry in train], return_inverse=True)[1]
            if self.classes and (labels := read_labels(parts.train)) is not None:
                strata = self._read(train, parts.train, labels).numpy()
            return [train[i] for i in part(split, strata, share(self.held_out, len(train)))]
        if split == "train":
            return train
        test = listed(parts.test)
        return train + test if split == "all" else test

    def _labels(self, entries: Sequence["Entry"]) -> torch.Tensor:
        parts = self._parts()
        if (labels := read_labels(parts.train)) is not None:
            inside = [entry for entry in entries if entry.file.is_relative_to(parts.train)]
            found = [self._read(inside, parts.train, labels)]
            if beyond := entries[len(inside) :]:
                found.append(self._read(beyond, parts.test, read_labels(parts.test) or {}))
            return torch.cat(found)
        return self._by_folder(entries, parts.train)

    def _by_folder(self, entries: Sequence["Entry"], train: Path) -> torch.Tensor:
        """Labels by the names of class folders."""
        names = self.class_names()
        if not names:
            raise DataError(f"{self.root} has no class folders, but data.classes={self.classes}: set data.classes=0.")
        for name in names:
            refuse_empty(train / name)
        if len(names) != self.classes:
            raise DataError(
                f"{self.root} has {len(names)} class folders ({few(names)}), but data.classes={self.classes}: "
                f"set data.classes={len(names)}, or 0 to leave the labels out."
            )
        number = {name: i for i, name in enumerate(names)}
        outside = next((entry.file for entry in entries if entry.group not in number), None)
        if outside is not None:
            raise DataError(f"{outside} lies in no class folder of the training part: move it, or set data.classes=0.")
        return torch.tensor([number[entry.group] for entry in entries], dtype=torch.int64)

    def _read(self, entries: Sequence["Entry"], root: Path, labels: dict[str, int]) -> torch.Tensor:
        """Labels of files by a dataset.json."""
        paths = [entry.file.relative_to(root).as_posix() for entry in entries]
        bare = next((path for path in paths if path not in labels), None)
        if bare is not None:
            raise DataError(
                f"{root / LABELS} holds the labels, but none of {bare}: add it there, take the image out, or set "
                "data.classes=0."
            )
        refuse_labels(str(root / LABELS), sorted({labels[path] for path in paths}), self.classes)
        return torch.tensor([labels[path] for path in paths], dtype=torch.int64)


@dataclass(frozen=True)
class Entry:
    """An image file and the name of the class folder it lies in, empty for a file outside of any."""

    file: Path
    group: str


def listed(root: Path, cure: str = "Give data.root=DIR with a folder of images.") -> list[Entry]:
    """All image files below a folder, in the order of their paths; hidden ones are passed over.

    Links are followed, but for those that lead back to a folder above them.

    Raises:
        DataError: where there are none, with the cure, or a folder cannot be read.
    """
    entries, others = [], []
    for folder, folders, names in os.walk(root, followlinks=True, onerror=unreadable):
        seen = (name for name in sorted(folders) if not name.startswith("."))
        folders[:] = [name for name in seen if not leads_back(Path(folder, name))]
        inside = Path(folder).relative_to(root).parts
        for name in (name for name in names if not name.startswith(".")):
            file = Path(folder, name)
            if file.suffix.lower() in SUFFIXES:
                entries.append(Entry(file, inside[0] if inside else ""))
            else:
                others.append(file)
    if not entries:
        seen = f"; it holds {len(others)} other file(s), such as {others[0]}" if others else "; it is empty"
        raise DataError(f"{root} holds no PNG, JPEG or WebP images{seen}. {cure}")
    return sorted(entries, key=lambda entry: entry.file.parts)


def check_alone(root: Path, train: Path) -> None:
    """Refuse a folder `train` beside other folders of images, none of them the test part: it may well be a class."""
    for folder in (folder for folder in subfolders(root) if folder != train):
        if any(file.suffix.lower() in SUFFIXES for file in folder.rglob("*")):
            raise DataError(
                f"{root} has a folder {train.name} beside {folder.name}, and none that is called test, val or "
                f"validation. If {train.name} is the training part, give data.root={train}; if it is a class, rename "
                "it, or list all classes in data.names=[...]."
            )


def holds_images(root: Path) -> bool:
    """Whether `listed` finds any image there; stops at the first."""
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not (name.startswith(".") or leads_back(Path(folder, name)))]
        if any(Path(name).suffix.lower() in SUFFIXES and not name.startswith(".") for name in names):
            return True
    return False


def refuse_empty(folder: Path) -> None:
    """Refuse a class without an image that is read."""
    if not folder.is_dir():
        there = few([other.name for other in subfolders(folder.parent)])
        raise DataError(f"{folder.parent} has no class folder {folder.name}; it has {there}. Give it back its name.")
    if holds_images(folder):
        return
    others = sorted(file for file in folder.rglob("*") if file.is_file())
    held = f"{len(others)} file(s) such as {others[0].name}, and none that is read as an image" if others else "nothing"
    raise DataError(f"the class folder {folder} holds {held}: convert or add images, or take the folder away.")


def leads_back(folder: Path) -> bool:
    """Whether a folder is a link to one that it lies in, so that following it would never end."""
    if not folder.is_symlink():
        return False
    above = folder.absolute().parents
    return folder.resolve() in {*(each.resolve() for each in above), *above[0].resolve().parents}


def unreadable(error: OSError) -> NoReturn:
    raise DataError(f"{error.filename} cannot be read ({error.strerror}): mend it or take it out.") from error


@dataclass(frozen=True, eq=False)
class FolderImages(Images):
    """Image files that are decoded when they are asked for."""

    files: tuple[Path, ...]
    shape: tuple[int, int, int]
    labels: torch.Tensor | None = None
    enlarge: bool = False

    def __len__(self) -> int:
        return len(self.files)

    def batch(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        pixels = np.stack([decode(self.files[i], self.shape, self.enlarge) for i in indices.tolist()])
        return torch.from_numpy(pixels), None if self.labels is None else self.labels[indices]

    def digest(self) -> str:
        """Of the files as they are, kept in memory or not: reading is much faster than decoding."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        parts = itertools.chain([RECIPE], (file.read_bytes() for file in self.files))
        return digest((len(self), *self.shape), parts, self.labels)

    def check(self) -> None:
        """Reads every header, so that what cannot be used is found before training and not in the middle of it."""
        threaded(lambda file: check_header(file, self.shape, self.enlarge), self.files)

    def loaded(self) -> "Decoded":
        """The same images in memory."""
        pixels = np.empty((len(self), *self.shape), np.uint8)

        def fill(i: int) -> None:
            pixels[i] = decode(self.files[i], self.shape, self.enlarge)

        threaded(fill, range(len(self)))
        return Decoded(torch.from_numpy(pixels), self.labels, source=self)


@dataclass(frozen=True, eq=False)
class Decoded(InMemory):
    """Image files that were decoded once; the same set as the files themselves, so it has their digest."""

    source: FolderImages = field(kw_only=True)

    def digest(self) -> str:
        return self.source.digest()


def threaded(work: Callable[[Any], None], items: Sequence[Any]) -> None:
    """Runs work on all items, in threads because decoding frees the interpreter; the first error is raised."""

    def some(start: int) -> None:
        for item in items[start : start + 256]:
            work(item)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for _ in pool.map(some, range(0, len(items), 256)):
            pass
