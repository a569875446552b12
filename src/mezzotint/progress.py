"""Progress of long operations on stderr: a bar on a terminal, occasional lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int], None]  # called with the amount of work done since the last call

QUIET = 30.0  # seconds between two lines without a terminal


@contextmanager
def bar(title: str, total: int) -> Iterator[Advance]:
    """Yield a function to report progress; call it with the amount of work done since the last call.

    On a terminal, a transient bar with rate and time left; elsewhere a line every QUIET seconds.
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
    """Prints progress every QUIET seconds, so nothing for shorter operations."""

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
