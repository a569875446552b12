"""Files and folders that are there as a whole or not at all, whatever makes them."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place beside a file or folder at which it is made. When that is done, it takes the place of what was there;
    where it fails or is interrupted, nothing is left of it, and what was there stays.
    """
    part = path.with_name(f".{os.urandom(4).hex()}.{path.name}")
    try:
        yield part
        put(part, path)
    except BaseException:
        remove(part)
        raise


def put(part: Path, path: Path) -> None:
    """Move it into place; a folder cannot replace another one, so that one is moved away first."""
    old = part.with_name(f"{part.name}.old")
    if path.is_dir():
        os.replace(path, old)
    os.replace(part, path)
    remove(old)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
