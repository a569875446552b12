"""Locks of files that one process at a time writes."""

import fcntl
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from mezzotint.atomic import lock_file
from mezzotint.errors import DataError


@contextmanager
def locked(file: Path, setting: str) -> Iterator[None]:
    """Hold the exclusive lock of a file, which is released when the process ends.

    Args:
        setting: the argument that names another folder, for the message.

    Raises:
        DataError: its folder cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = lock_file(file)
    except OSError as error:
        raise DataError(f"cannot write to {file.parent} ({error.strerror}): give another {setting}.") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def download_lock(folder: Path) -> AbstractContextManager[None]:
    """Return the lock of a folder of downloads."""
    return locked(folder / ".download.lock", "paths.data=DIR")
