"""How far something is that takes long, on stderr: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int], None]  # told how much more is done

QUIET = 30.0  # seconds between two lines where nothing moves


@contextmanager
def bar(title: str, total: int) -> Iterator[Advance]:
    """How far something is that takes long; called with how much more is done.

    On a terminal a bar with rate and time left, which disappears; elsewhere a line every QUIET seconds.
    """
    if not sys.stderr.isatty():
        yield ProgressLines(title, total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total)
        yield lambda count: progress.advance(task, count)


class ProgressLines:
    """Says how far something is, a line every QUIET seconds; nothing where it takes less."""

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total, self.done = title, total, 0
        self.began = self.said = time.monotonic()

    def __call__(self, count: int) -> None:
        self.done += count
        now = time.monotonic()
        if now - self.said >= QUIET and self.done < self.total:
            self.said, rate = now, self.done / (now - self.began)
            left = round((self.total - self.done) / rate) if rate else "?"
            print(f"{self.title}: {self.done:,} of {self.total:,}, {rate:.3g}/s, {left} s left", file=sys.stderr)
