"""What people see: tables, and a bar for what takes long. Nothing moves where the output is a file."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


def shown(path: str | Path) -> str:
    """A path as short as it can be typed: relative where it lies below the present folder."""
    path, here = Path(path).absolute(), Path(os.getcwd())
    return str(path.relative_to(here)) if path.is_relative_to(here) and path != here else str(path)


@contextmanager
def bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
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
    from rich.console import Console
    from rich.table import Table

    drawn = Table(*head, show_header=bool(head), title=title or None, title_justify="left")
    for row in rows:
        drawn.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 120).print(drawn)
