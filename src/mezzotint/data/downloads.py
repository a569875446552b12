"""The folder of downloads, which one process at a time writes to."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mezzotint.atomic import lock_file
from mezzotint.errors import DataError


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock, released when the process ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = lock_file(folder / ".download.lock")
    except OSError as error:
        raise DataError(f"cannot write to {folder} ({error.strerror}): give another paths.data=DIR.") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
