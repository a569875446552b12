"""One line that says how far a run is."""

import shutil
import sys
import time

import torch

from mezzotint.training.callback import Callback, Run


class Progress(Callback):
    """Images seen, images a second, loss, the newest metric, time left and memory, on rank 0's standard error.

    On a terminal one line, renewed at most ten times a second; elsewhere a line every `quiet` seconds. It reads only
    numbers that the log has already brought from the device.

    Args:
        quiet: seconds between lines where standard error is not a terminal.
    """

    order = 30

    def __init__(self, quiet: float = 30.0) -> None:
        self.quiet = quiet
        self.shown = 0.0

    def start(self, run: Run) -> None:
        self.began, self.first = time.monotonic(), run.images
        self.shown = self.began
        self.terminal = sys.stderr.isatty()

    def step(self, run: Run) -> None:
        now = time.monotonic()
        if run.rank == 0 and now - self.shown >= (0.1 if self.terminal else self.quiet):
            self.shown = now
            self.show(run, now)

    def show(self, run: Run, now: float) -> None:
        text = line(run, (run.images - self.first) / max(now - self.began, 1e-9))
        if self.terminal:
            text = text[: shutil.get_terminal_size().columns - 1]
        print(
            f"\r\x1b[K{text}" if self.terminal else text, end="" if self.terminal else "\n", file=sys.stderr, flush=True
        )

    def finish(self, run: Run) -> None:
        if run.rank == 0:
            self.show(run, time.monotonic())

    def close(self, run: Run, error: BaseException | None) -> None:
        if run.rank == 0 and getattr(self, "terminal", False):
            print(file=sys.stderr, flush=True)


def line(run: Run, rate: float) -> str:
    left = (run.budget - run.images) / rate if rate > 0 else float("inf")
    loss = run.values.get("loss")
    judged = list(run.values.get("judge", {}).items())[:1]
    parts = [
        f"{run.images / run.steps / run.batch_size:4.0%}",
        f"{run.images:,} of {run.budget:,} images",
        f"{rate:,.0f}/s",
        *([f"loss {loss:.4f}"] if loss is not None else []),
        *(f"{name} {value:.4g}" for name, value in judged),
        f"{clock(max(0.0, left))} left",
        f"{memory() / 2**30:.1f} GB",
    ]
    return "  ".join(parts)


def clock(seconds: float) -> str:
    if seconds == float("inf"):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def memory() -> int:
    """Bytes at most in use so far: of the accelerator, else of this process."""
    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
