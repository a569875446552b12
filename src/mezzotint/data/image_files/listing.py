"""The images below a folder, each once, and the unsupported ones with reasons."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mezzotint.data.image_files.class_folders import OF_SYSTEMS, composed, is_folder
from mezzotint.data.image_files.formats import OTHER, RAW, SUFFIXES, in_line, unread
from mezzotint.data.image_files.stored import StoredImage
from mezzotint.errors import DataError

LEFTOVERS = ("thumbs.db", "ehthumbs.db", "desktop.ini")


@dataclass(frozen=True, slots=True)
class Entry:
    """An image file.

    Args:
        file: its path.
        group: the class folder it is in, empty for none.
        identity: device and inode, equal for two paths to the same file.
        linked: whether the path contains a symbolic link.
        shared: whether other paths may lead to the same file.
    """

    file: Path
    group: str
    identity: tuple[int, int] = (0, 0)
    linked: bool = False
    shared: bool = False


@dataclass(frozen=True)
class Listing:
    """The images below a folder.

    Args:
        root: the folder.
        entries: the image files, in the order of their paths.
        unread: unsupported images, with reasons.
        twice: links to images that are listed already.
    """

    root: Path
    entries: list[Entry]
    unread: list[tuple[Path, str]] = field(default_factory=list)
    twice: list[Path] = field(default_factory=list)


def refuse_unread(listings: Sequence[Listing], cure: str) -> None:
    """Raise DataError if there are unsupported images; `cure` is an additional remedy."""
    unread = [item for listing in listings for item in listing.unread]
    if unread:
        count = sum(len(listing.entries) for listing in listings)
        raise DataError(f"{describe_unused(unread, count + len(unread), 'is not read')}; or {cure}.")


def listed(root: Path, cure: str = "Give data.root=DIR with a folder of images.") -> Listing:
    """List all images below a folder; links are followed, except to something that is below the folder as well.

    Only regular files are opened; hidden files and folders are skipped.

    Raises:
        DataError: there is no image, or a folder cannot be read.
    """
    entries, missed, others = [], [], []
    seen, twice = set(), []
    for item in sorted(walk(root), key=lambda item: (item.linked, item.path.parts)):
        reason = support_of(item)
        if reason is None:
            others.append(item)
        elif reason:
            missed.append((item.path, reason))
        elif item.shared and item.identity in seen:
            twice.append(item.path)
        else:
            seen.add(item.identity)
            entries.append(Entry(item.path, item.group, item.identity, item.linked, item.shared))
    if not entries:
        raise DataError(f"{root} has no readable pictures{instead(missed, [o.path for o in others])}. {cure}")
    entries.sort(key=lambda entry: entry.file.parts)
    return Listing(root, entries, sorted(missed), sorted(twice))


def apart(train: Sequence[Entry], test: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """Return two parts without images that links put into both: they stay at their real path, else in the first part.

    Raises:
        DataError: nothing is left of the second part.
    """
    lying = {entry.identity for entry in test if not entry.linked}
    kept = [entry for entry in train if not (entry.linked and entry.identity in lying)]
    trained = {entry.identity: entry.shared for entry in kept}
    other = [e for e in test if e.identity not in trained or not (e.shared or trained[e.identity])]
    if test and not other:
        raise DataError(
            f"{test[0].file}, like all other test pictures, is a link to a training picture. "
            f"Put other pictures there, or set data.root={in_line(train[0].file.parent)} to hold out a part of it."
        )
    return kept, other


def instead(missed: Sequence[tuple[Path, str]], others: Sequence[Path]) -> str:
    """Describe the content of a folder without images."""
    if missed:
        return f", but {describe_unused(missed, len(missed), 'is not read')}"
    return f"; it holds {len(others)} other file(s), such as {others[0]}" if others else "; it is empty"


def describe_unused(bad: Sequence[tuple[StoredImage, str]], total: int, verb: str) -> str:
    """Describe how many images are unused, with names and reasons; `verb` is "is not read", for example."""
    (file, reason), *more = bad
    if not more:
        return f"1 of {total:,} pictures {verb}: {in_line(file)} ({reason})"
    names = ", ".join(other.name for other, _ in more[:4]) + (", ..." if len(more) > 4 else "")
    verb = verb.replace("is", "are", 1)
    return f"{len(bad):,} of {total:,} pictures {verb}, such as {in_line(file)} ({reason}), and {names}"


@dataclass(frozen=True)
class Found:
    """A file found by `walk`.

    Args:
        path: its path.
        group: the folder directly below the root that contains it, empty for none.
        identity: device and inode, equal for two paths to the same file.
        links: number of hard links.
        linked: whether the path contains a symbolic link.
        regular: whether it is a regular file.
    """

    path: Path
    group: str
    identity: tuple[int, int]
    links: int
    linked: bool
    regular: bool

    @property
    def shared(self) -> bool:
        return self.linked or self.links > 1


def support_of(item: Found) -> str | None:
    """Return why an image is unsupported, empty if it is supported; None if it is not an image."""
    if item.regular:
        return unread(item.path)
    if item.path.suffix.lower() not in SUFFIXES | RAW | OTHER:
        return None
    return "a broken link" if item.path.is_symlink() else "not a regular file"


def walk(root: Path) -> Iterator[Found]:
    """Yield every non-hidden file below a folder, visiting each folder once, by its real path if possible.

    Links are followed last; links to a parent folder or to a visited folder are skipped.
    """
    visited = {place(above) for above in (*root.absolute().parents, *root.resolve().parents)}
    pending, links = [(root, "", False)], []
    while pending or links:
        folder, group, linked = pending.pop() if pending else links.pop(0)
        if linked and place(folder) in visited:
            continue
        visited.add(place(folder))
        try:
            inside = sorted(os.scandir(folder), key=lambda item: item.name)
        except OSError as error:
            raise DataError(
                f"{folder} cannot be read ({error.strerror}): fix its permissions, or remove it."
            ) from error
        for item in inside:
            path, through = folder / item.name, linked or item.is_symlink()
            if item.name.startswith("."):
                continue
            if not is_folder(item):
                if item.name.lower() not in LEFTOVERS:
                    yield found(item, path, group, through)
            elif item.name.lower() not in OF_SYSTEMS:
                (links if item.is_symlink() else pending).append((path, group or composed(item.name), through))


def place(folder: Path) -> tuple[int, int]:
    """Return device and inode, the identity of a folder."""
    about = os.stat(folder)
    return about.st_dev, about.st_ino


def found(item: os.DirEntry[str], path: Path, group: str, linked: bool) -> Found:
    try:
        about = item.stat()
    except OSError:  # a broken link
        return Found(path, group, (0, 0), 0, linked, False)
    return Found(path, group, (about.st_dev, about.st_ino), about.st_nlink, linked, stat.S_ISREG(about.st_mode))


def holds_pictures(folder: Path) -> bool:
    """Return whether there is a supported image below a folder."""
    return any(support_of(item) == "" for item in walk(folder))


def pictures(folder: Path) -> int:
    """Return the number of supported images below a folder."""
    return sum(support_of(item) == "" for item in walk(folder))


def repeats(folder: Path, root: Path) -> bool:
    """Return whether a folder is a link to one below or above the root."""
    there, above = folder.resolve(), root.resolve()
    return folder.is_symlink() and (there.is_relative_to(above) or above.is_relative_to(there))
