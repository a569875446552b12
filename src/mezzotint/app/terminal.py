"""What people see: tables, and a bar for what takes long. Nothing moves where the output is a file."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

Advance = Callable[[int], None]  # told how much more is done

STATES = {"finished": "green", "running": "cyan", "interrupted": "yellow", "preempted": "yellow", "failed": "red"}
ENDLESS = 10_000  # columns of a file: no line is broken there


def shown(path: str | Path) -> str:
    """A path as short as it can be typed: relative where it lies below the present folder."""
    path, here = Path(path).absolute(), Path(os.getcwd())
    return str(path.relative_to(here)) if path.is_relative_to(here) and path != here else str(path)


@contextmanager
def bar(title: str, total: int) -> Iterator[Advance]:
    """A bar on a terminal, with the time left; called with how much more is done."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total)
        yield lambda count: progress.advance(task, count)


def table(rows: Sequence[Sequence[str]], head: Sequence[str] = (), title: str = "") -> None:
    """Rows of words in columns: in a box as wide as a terminal; elsewhere a line each, for grep and awk."""
    from rich.box import HEAVY_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    boxed = sys.stdout.isatty()
    drawn = Table(*head, show_header=bool(head), title=title or None, title_justify="left", pad_edge=boxed)
    drawn.box = HEAVY_HEAD if boxed else None
    for row in rows:
        drawn.add_row(*(Text(cell, style=STATES.get(cell, "")) for cell in row))
    Console(width=None if boxed else ENDLESS).print(drawn)
