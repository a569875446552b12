"""Safe reading of a run's files, which may be damaged or untrusted.

Readers return a value of the declared shape or raise `Damaged`, with one line: the file, the problem and the remedy.
Only regular files inside the run are opened; links out of it, devices, pipes and sockets are refused. Size and nesting
depth are bounded.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from mezzotint.errors import DataError
from mezzotint.plain_data import ANY, mismatch, parse

MOST = 64 << 20  # maximum bytes of a file of values
MOST_OF_LOG = 512 << 20  # maximum bytes of a log, which grows with the run
BACKUP = "remove it, or copy it from a backup"


class Damaged(DataError):
    """A file of a run without the required content."""


def damaged(file: Path, why: str, cure: str = BACKUP) -> Damaged:
    """Return the error for a file: why it cannot be used, and what to do."""
    return Damaged(f"{file} cannot be read: {why}; {cure}")


def obstacle(file: Path, run: Path) -> str | None:
    """Return why a path in a run must not be opened; None if it may be, or does not exist.

    The run's own directory may be a link.
    """
    try:
        root, real = os.path.realpath(run), os.path.realpath(file)
        if os.path.commonpath([root, real]) != root:
            return f"it is or lies behind a link out of the run, to {real}"
        mode = os.stat(real).st_mode
    except FileNotFoundError:
        return "it is a link to nothing" if os.path.islink(file) else None
    except (OSError, ValueError) as error:
        return reason(error)
    return None if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else f"it is {kind(mode)}, not a file"


def kind(mode: int) -> str:
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    return next((name for test, name in kinds if test(mode)), "a device")


def reason(error: BaseException) -> str:
    """Return the message of an error, in one line."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
    return " ".join(said.split())[:300]


@contextmanager
def opened(file: Path, run: Path) -> Iterator[BinaryIO]:
    """Open a regular file inside the run for reading.

    Raises:
        FileNotFoundError: it does not exist.
        Damaged: it must not or cannot be opened.
    """
    if why := obstacle(file, run):
        raise damaged(file, why)
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise damaged(file, reason(error)) from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise damaged(file, f"it is {kind(mode)}, not a file")
    with open(descriptor, "rb") as out:
        try:
            yield out
        except OSError as error:
            raise damaged(file, reason(error)) from error


def read_bytes(file: Path, run: Path, most: int = MOST) -> bytes:
    """Return the content of a file; raise as `opened`, and Damaged if it is larger than `most` bytes."""
    with opened(file, run) as source:
        content = source.read(most + 1) if os.fstat(source.fileno()).st_size <= most else None
    if content is None or len(content) > most:
        raise damaged(file, f"it holds more than {most:,} bytes")
    return content


def read_end(file: Path, run: Path, most: int) -> bytes:
    """Return at most the last `most` bytes of a file; raise as `opened`."""
    with opened(file, run) as source:
        source.seek(max(0, os.fstat(source.fileno()).st_size - most))
        return source.read(most)


def read_text(file: Path, run: Path, most: int = MOST) -> str:
    """Return the text of a UTF-8 file; raise as `read_bytes`."""
    try:
        return read_bytes(file, run, most).decode("utf-8")
    except UnicodeDecodeError as error:
        raise damaged(file, reason(error)) from error


def read_json(file: Path, run: Path, shape: Any = ANY, cure: str = BACKUP) -> Any:
    """Return the value in a JSON file, of a shape as in `mismatch`; raise as `read_bytes`."""
    content = read_bytes(file, run)
    try:
        value = parse(content)
    except ValueError as error:
        raise damaged(file, f"it is not JSON ({reason(error)})", cure) from error
    if why := mismatch(value, shape):
        raise damaged(file, why, cure)
    return value


def files(run: Path, *patterns: str) -> list[Path]:
    """Return the files of a run that match a pattern and may be opened, sorted by name."""
    found: list[Path] = []
    for pattern in patterns:
        folder, _, last = pattern.rpartition("/")
        if obstacle(run / folder, run):
            continue
        try:
            found += (run / folder).glob(last)
        except OSError:
            continue
    return sorted(file for file in found if file.is_file() and not obstacle(file, run))


def changed(file: Path) -> float:
    """Return the modification time of a file in seconds since 1970; 0 if it does not exist."""
    try:
        return os.lstat(file).st_mtime
    except OSError:
        return 0.0
