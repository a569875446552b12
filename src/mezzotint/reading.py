"""Safe reading of a run's files, which may be damaged or untrusted.

Readers return a value of the declared shape or raise `Damaged`, with one line: the file, the problem and the remedy.
Only regular files inside the run are opened; links out of it, devices, pipes and sockets are refused. Size and nesting
depth are bounded.
"""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from mezzotint.errors import DataError

MOST = 64 << 20  # maximum bytes of a file of values
MOST_OF_LOG = 512 << 20  # maximum bytes of a log, which grows with the run
MOST_VALUES = 100_000  # maximum number of values in a config
DEEPEST = 64  # maximum nesting depth
BACKUP = "remove it, or copy it from a backup"
DIGITS = 18  # longer integers are read as floats

PLAIN = (dict, list, str, int, float, type(None))
NUMBER = (int, float)
TEXT_OR_NONE = (str, type(None))
NUMBER_OR_NONE = (int, float, type(None))
ANY = object


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


def parse(content: bytes) -> Any:
    """Parse UTF-8 JSON, with NaN and Infinity; raise ValueError if it is invalid or nested too deeply."""
    try:
        value = json.loads(content, parse_int=integer)
    except (RecursionError, MemoryError) as error:
        raise ValueError("it is too deep") from error
    if content.count(b"{") + content.count(b"[") > DEEPEST and depth(value) > DEEPEST:
        raise ValueError("it is too deep")
    return plain(value) if b"\\ud" in content or b"\\uD" in content else value


def integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= DIGITS else float(digits)


def depth(value: Any) -> int:
    """Return the nesting depth of lists and objects."""
    level, deep = [value], 0
    while level := [item for item in level if isinstance(item, (dict, list))]:
        deep += 1
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return deep


def not_plain(value: Any) -> str | None:
    """Return why a value is not plain data of bounded size and depth, cycles included; None if it is."""
    level, deep, count = [value], 0, 0
    while level:
        deep, count = deep + 1, count + len(level)
        if deep > DEEPEST or count > MOST_VALUES:
            return "it is too deep" if deep > DEEPEST else f"it has more than {MOST_VALUES:,} values"
        if strange := [item for item in level if not isinstance(item, PLAIN)]:
            return f"{type(strange[0]).__name__} {str(strange[0])[:40]!r} is no value of a config"
        maps = [item for item in level if isinstance(item, dict)]
        if keys := [key for item in maps for key in item if not isinstance(key, str)]:
            return f"the key {keys[0]!r} is not text"
        level = [inner for item in maps for inner in item.values()] + [
            inner for item in level if isinstance(item, list) for inner in item
        ]
    return None


def plain(value: Any) -> Any:
    """Return the value with lone surrogates replaced, which cannot be encoded."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def mismatch(value: Any, shape: Any, where: str = "") -> str | None:
    """Return how a value differs from a shape, in words; None if it does not.

    A shape is a type or a tuple of types; [SHAPE] for a list; {...: SHAPE} for an object with any keys; {"key": SHAPE}
    for an object with these keys and possibly others, where keys that end in "?" are optional. Booleans are no numbers.
    """
    name = where or "it"
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{name} is {spell(value)} instead of a list"
        return next((why for i, item in enumerate(value) if (why := mismatch(item, shape[0], f"{where}[{i}]"))), None)
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{name} is {spell(value)} instead of an object with names"
        pairs = [(key, shape[...]) for key in value] if ... in shape else [*shape.items()]
        for key, inner in pairs:
            bare = key if ... in shape else key.removesuffix("?")
            place = f"{where}.{bare}" if where else bare
            if bare not in value:
                if bare == key:
                    return f"it has no {place}"
            elif why := mismatch(value[bare], inner, place):
                return why
        return None
    if shape is ANY:
        return None
    types = shape if isinstance(shape, tuple) else (shape,)
    if isinstance(value, types) and not (isinstance(value, bool) and bool not in types):
        return None
    return f"{name} is {spell(value)} instead of {' or '.join(WORDS.get(each, each.__name__) for each in types)}"


WORDS = {int: "an integer", float: "a number", str: "text", bool: "true or false", type(None): "null"}
WORDS |= {dict: "an object with names", list: "a list"}


def spell(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return "an object with names" if isinstance(value, dict) else "a list"
    if not isinstance(value, PLAIN):
        return type(value).__name__
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


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
