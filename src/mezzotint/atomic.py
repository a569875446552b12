"""Files and folders that are there as a whole or not at all, whatever makes them."""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mezzotint.errors import no_room

FULL = 1 << 16  # bytes that are free on a disk without room


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A place with the same ending at which a file or folder is made. When that is done, it takes the place of what was
    there; where it fails or is interrupted, nothing is left of it, and what was there stays.

    It is made in a folder beside it, `.NAME.*.part`, which no other process has, on this machine or on another that
    sees it, and which no pattern for whole files matches. Only a process that is killed leaves that behind.
    """
    workshop = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
    workshop.mkdir()
    try:
        part = workshop / f"new{path.suffix}"
        yield part
        replace(part, path)
    except OSError as error:
        if no_room(error) or (error.errno is None and shutil.disk_usage(path.parent).free < FULL):  # as Pillow says it
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        if error.errno and error.filename is None:  # a write or an fsync says nothing of where
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise
    finally:
        shutil.rmtree(workshop, ignore_errors=True)  # what is done is done


def replace(part: Path, path: Path) -> None:
    """Move it into place; a folder cannot replace another one, so that one is moved away first."""
    old = part.with_name("old")
    if part.is_dir() and path.is_dir():
        os.replace(path, old)
    elif path.is_dir() and not path.is_symlink():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    try:
        os.replace(part, path)
    except BaseException:
        if os.path.lexists(old):
            os.replace(old, path)
        raise


def write_text(path: Path, text: str) -> None:
    """A text file, on the disk before it takes its place."""
    with atomic_path(path) as part, open(part, "w", encoding="utf-8") as file:
        file.write(text)
        sync(file)


def lock_file(path: Path) -> IO[str]:
    """A file of our own to lock, made where there is none, and left as it is.

    Raises:
        OSError: it is a link, which would lead to another file, no file, or somebody else's.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid():
            raise OSError(errno.EPERM, "it is not a file of yours", str(path))
        return os.fdopen(descriptor, "r+")
    except BaseException:
        os.close(descriptor)
        raise


def sync(file: IO[Any]) -> None:
    """Force what was written to the disk."""
    file.flush()
    os.fsync(file.fileno())


def remove_partials(folder: Path) -> None:
    """Remove what processes that were killed had been making in a folder; only for who alone writes there."""
    for workshop in folder.glob(".*.part"):
        shutil.rmtree(workshop) if workshop.is_dir() and not workshop.is_symlink() else workshop.unlink()
