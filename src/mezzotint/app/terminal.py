"""Terminal output: paths, tables, and streams that survive a closed reader.

Names, errors and texts are read from runs and data, and may come from a stranger: what would move a terminal's cursor,
set its title, or reorder the text, is written out (`\\x1b`) instead.
"""

import errno
import io
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast

STATES = {"finished": "green", "running": "cyan", "interrupted": "yellow", "preempted": "yellow"}
STATES |= {"failed": "red", "damaged": "red"}
ENDLESS = 10_000  # columns of a file: no line is broken there
GONE = (errno.EPIPE, errno.EIO)  # of a pipe without a reader, of a terminal that was closed


SIGNS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
MOVES = re.compile(r"(\r|\x1b\[[0-9;?]*[A-HJKmhl])")  # colours and the cursor's moves, as of a bar


def printable(text: str) -> str:
    """Return a text with control characters escaped; tabs and newlines stay."""
    return SIGNS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def drawable(text: str) -> str:
    """Return a text with control characters escaped except colours and cursor movements, as progress bars use them."""
    parts = MOVES.split(text)
    return "".join(part if i % 2 else printable(part) for i, part in enumerate(parts))


def one_line(text: str) -> str:
    """Return a text from a file as one line."""
    return printable(" ".join(text.split()))


def display_path(path: str | Path) -> str:
    """Return the shortest form of a path: relative if it is below the working directory."""
    try:
        path, here = Path(path).absolute(), Path(os.getcwd())
    except FileNotFoundError:  # the present folder was removed
        return str(path)
    return str(path.relative_to(here)) if path.is_relative_to(here) and path != here else str(path)


class PipeSafeStream:
    """A stream that survives a closed reader: further output is dropped, and the command continues.

    It also survives a full disk; `lost` holds the reasons afterwards.

    Args:
        clean: what becomes of a text before it is written.
    """

    def __init__(self, stream: TextIO, clean: Callable[[str], str] = str, lost: list[str] | None = None) -> None:
        self.stream, self.clean, self.lost = stream, clean, [] if lost is None else lost

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        with self.kept():
            self.stream.write(self.clean(text))
        return len(text)

    def flush(self) -> None:
        with self.kept():
            self.stream.flush()

    @contextmanager
    def kept(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in GONE:
                self.lost.append(error.strerror or str(error))
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.stream.fileno())
            os.close(null)


@contextmanager
def unbroken() -> Iterator[list[str]]:
    """Let `mezzotint train | head -1` train to its end, and `mezzotint runs | head -1` end silently.

    Why a stream could not be written, such as a full disk, is put into the list that this gives.
    """
    before = sys.stdout, sys.stderr
    lost: list[str] = []
    reopen()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names in another encoding than the terminal's
    sys.stdout = cast(TextIO, PipeSafeStream(sys.stdout, printable, lost))
    sys.stderr = cast(TextIO, PipeSafeStream(sys.stderr, drawable, lost))
    try:
        yield lost
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def reopen() -> None:
    """Open /dev/null for streams that the caller has closed (>&-), before another file gets their number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest number that is free
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def refuse(message: str, command: str = "", code: int = 2) -> int:
    """Print why a command ends, as one message on standard error; return its exit code."""
    print(printable(f"mezzotint{f' {command}' if command else ''}: {message}"), file=sys.stderr)
    return code


def table(rows: Sequence[Sequence[str]], head: Sequence[str] = (), title: str = "") -> None:
    """Print rows in columns: boxed on a terminal; elsewhere one line per row, for grep and awk."""
    from rich.box import HEAVY_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    boxed = sys.stdout.isatty()
    drawn = Table(
        *map(one_line, head), show_header=bool(head), title=title or None, title_justify="left", pad_edge=boxed
    )
    drawn.box = HEAVY_HEAD if boxed else None
    for column in drawn.columns:
        column.overflow = "fold"  # a path or an address is never cut
    for row in rows:
        drawn.add_row(*(Text(printable(cell).replace("\n", " "), style=STATES.get(cell, "")) for cell in row))
    to: Any = sys.stdout
    if isinstance(to, PipeSafeStream):
        to = PipeSafeStream(to.stream)  # without the cleaning of escape codes: the colours are ours
    Console(file=to, width=None if boxed else ENDLESS, force_jupyter=False).print(drawn)
