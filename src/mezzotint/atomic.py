"""Atomic writes: a file or folder appears complete or not at all."""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mezzotint.errors import is_disk_full

FULL = 1 << 16  # a disk with fewer free bytes is considered full


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path with the same suffix, and move the file or folder written there to `path` on success.

    On failure or interruption nothing is left behind and `path` is unchanged. The temporary path is in a sibling folder
    `.NAME.*.part`, unique across processes and machines and not matched by patterns for complete files. Only a killed
    process leaves it behind.
    """
    folder = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
    folder.mkdir()
    try:
        part = folder / f"new{path.suffix}"
        yield part
        replace(part, path)
    except OSError as error:
        if is_disk_full(error) or (
            error.errno is None and shutil.disk_usage(path.parent).free < FULL
        ):  # as Pillow raises it
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        if error.errno and error.filename is None:  # write and fsync do not set the file name
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def replace(part: Path, path: Path) -> None:
    """Move `part` to `path`; an existing folder is moved away first, since a folder cannot replace another one."""
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
    """Write a text file atomically, synced to disk."""
    with atomic_path(path) as part, open(part, "w", encoding="utf-8") as file:
        file.write(text)
        sync(file)


def lock_file(path: Path) -> IO[str]:
    """Open a lock file, created if missing; its content is not changed.

    Raises:
        OSError: the path is a link, not a regular file, or owned by another user.
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
    """Flush a file and sync it to disk."""
    file.flush()
    os.fsync(file.fileno())


def remove_partials(directory: Path) -> None:
    """Remove temporary files of killed processes; only for the single writer of a directory."""
    for folder in directory.glob(".*.part"):
        shutil.rmtree(folder) if folder.is_dir() and not folder.is_symlink() else folder.unlink()
