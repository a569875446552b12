"""The images below a folder in compact columns: the same ones, in the same order, as `image_files.listing` lists."""

import itertools
import os
import stat
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

import numpy as np

from mezzotint.data.image_files.class_folders import OF_SYSTEMS, composed, is_folder
from mezzotint.data.image_files.formats import SUFFIXES
from mezzotint.data.image_files.listing import LEFTOVERS, found, listed, support_of
from mezzotint.errors import DataError


class Twice(Exception):
    """A file or folder was met a second time, by a link."""


@dataclass
class Scan:
    """The images of a folder, none of them opened.

    Args:
        root: the folder.
        names: paths of the images below it, as the file system encodes them, without separators.
        ends: of each name in `names`.
        sizes, modified: bytes and modification time in nanoseconds.
        places: a hash of device and inode, equal for two paths to the same file.
        group: number in `groups` of the folder directly below the root, for each image.
        groups: the names of these folders in NFC; empty for the root.
        folders: modification times of all folders by their path below the root; a file that is added or removed
            changes that of its folder.
        unread: unsupported images with reasons.
        linked: whether the same file might be met in another folder as well.
    """

    root: Path
    names: bytearray = field(default_factory=bytearray)
    ends: array = field(default_factory=lambda: array("q"))
    sizes: array = field(default_factory=lambda: array("q"))
    modified: array = field(default_factory=lambda: array("q"))
    places: array = field(default_factory=lambda: array("q"))
    group: array = field(default_factory=lambda: array("i"))
    groups: dict[str, int] = field(default_factory=dict)
    folders: dict[str, int] = field(default_factory=dict)
    unread: list[tuple[Path, str]] = field(default_factory=list)
    linked: bool = False

    def __len__(self) -> int:
        return len(self.ends)

    def name(self, row: int) -> bytes:
        """Return the path of an image below the root."""
        return bytes(self.names[self.ends[row - 1] if row else 0 : self.ends[row]])

    def add(self, name: str, group: str, about: os.stat_result) -> None:
        self.names += os.fsencode(name)
        self.ends.append(len(self.names))
        self.sizes.append(about.st_size)
        self.modified.append(about.st_mtime_ns)
        self.places.append(about.st_ino ^ (about.st_dev << 40 & (1 << 62) - 1))
        self.group.append(self.groups.setdefault(group, len(self.groups)))


def scan(root: Path) -> Scan:
    """List the images below a folder, in the order of their paths.

    Raises:
        DataError: there is no image, or a folder cannot be read.
    """
    try:
        made = plain(root)
    except Twice:
        return of_listing(root)
    return made if len(made) else of_listing(root)  # which says what is there instead


def plain(root: Path) -> Scan:
    """List a folder in one pass. Raises Twice: links lead to one file or folder by two paths."""
    made = Scan(root)
    above = {identity(folder) for folder in (*root.absolute().parents, *root.resolve().parents)}
    visit(made, str(root), "", "", False, above, set())
    places = np.frombuffer(made.places, np.int64)
    if made.linked and len(np.unique(places)) < len(places):
        raise Twice
    return made


def visit(
    made: Scan, path: str, below: str, group: str, linked: bool, above: set[tuple[int, int]], visited: set
) -> None:
    """Add the images of a folder and of those below it, in the order of their names."""
    about = os.stat(path)
    here = about.st_dev, about.st_ino
    if here in above:
        return
    if here in visited:
        raise Twice
    visited.add(here)
    made.folders[below.removesuffix("/")] = about.st_mtime_ns
    try:
        with os.scandir(path) as inside:
            items = sorted(inside, key=attrgetter("name"))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): fix its permissions, or remove it.") from error
    for item in items:
        name = item.name
        if name.startswith("."):
            continue
        through = linked or item.is_symlink()
        if is_folder(item):
            if name.lower() not in OF_SYSTEMS:
                inner = group or composed(name)
                visit(made, item.path, f"{below}{name}/", inner, through, above | {here}, visited)
        elif name.lower() not in LEFTOVERS:
            file(made, item, f"{below}{name}", group, through)


def file(made: Scan, item: os.DirEntry[str], name: str, group: str, linked: bool) -> None:
    """Add a file if it is an image."""
    dot = item.name.rfind(".")
    if dot > 0 and item.name[dot:].lower() in SUFFIXES:
        try:
            about = item.stat()
        except OSError:
            about = None
        if about is not None and stat.S_ISREG(about.st_mode):
            made.linked = made.linked or linked or about.st_nlink > 1
            made.add(name, group, about)
            return
    entry = found(item, made.root / name, group, linked)
    reason = support_of(entry)
    if reason:
        made.unread.append((entry.path, reason))
    elif reason is not None:
        made.linked = made.linked or entry.shared
        made.add(name, group, item.stat())


def of_listing(root: Path) -> Scan:
    """Return the scan of a folder in which links lead to one image by several paths: each image is kept once."""
    listing = listed(root)
    made = Scan(root, unread=listing.unread, linked=True)
    for entry in listing.entries:
        name = entry.file.relative_to(root).as_posix()
        made.add(name, entry.group, os.stat(entry.file))
    for folder in {parent for entry in listing.entries for parent in entry.file.relative_to(root).parents}:
        name = folder.as_posix().removeprefix(".")
        made.folders[name] = os.stat(root / folder).st_mtime_ns
    return made


def identity(folder: Path) -> tuple[int, int]:
    about = os.stat(folder)
    return about.st_dev, about.st_ino


def more_than(roots: Sequence[Path], most: int) -> bool:
    """Return whether folders hold more than `most` files, found without opening any of them."""
    there = (item for root in roots for item in files(root))
    return next(itertools.islice(there, most, None), None) is not None


def files(root: Path, depth: int = 0) -> Iterator[os.DirEntry[str]]:
    """Yield the files below a folder that are not hidden, and links; links to folders are followed from `root` alone.

    A folder that cannot be read is passed over: whoever lists it says so.
    """
    try:
        with os.scandir(root) as inside:
            items = list(inside)
    except OSError:
        return
    yield from (item for item in items if not item.name.startswith(".") and not item.is_dir(follow_symlinks=False))
    for item in items:
        if not item.name.startswith(".") and is_folder(item) and not (item.is_symlink() and depth):
            yield from files(root / item.name, depth + 1)
