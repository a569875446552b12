"""One line that says how far a run is."""

import shutil
import sys
import time
from contextlib import suppress
from typing import Any, TextIO

import torch

from mezzotint.training.callbacks.base import Callback
from mezzotint.training.training_run import TrainingRun


class Progress(Callback):
    """Images seen, images a second, loss, the newest metric, time left and memory, on rank 0's standard error.

    On a terminal one line, renewed at most ten times a second; elsewhere a line every `quiet` seconds. It reads only
    numbers that the log has already brought from the device.

    Args:
        quiet: seconds between lines where standard error is not a terminal.
    """

    order = 30

    def __init__(self, quiet: float = 30.0) -> None:
        if quiet <= 0:
            raise ValueError(f"quiet={quiet}: give the seconds between two lines, above 0")
        self.quiet = quiet
        self.shown = 0.0

    def start(self, run: TrainingRun) -> None:
        self.began, self.first = time.monotonic(), run.images
        self.shown = self.began
        self.terminal = sys.stderr.isatty()

    def step(self, run: TrainingRun) -> None:
        now = time.monotonic()
        if run.rank == 0 and now - self.shown >= (0.1 if self.terminal else self.quiet):
            self.shown = now
            self.show(run, now)

    def show(self, run: TrainingRun, now: float) -> None:
        text = line(run, now - self.began, run.images - self.first)
        if self.terminal:
            text = fitted(text, run.step / run.steps, shutil.get_terminal_size().columns - 1, drawable(sys.stderr))
            say(f"\r\x1b[K{text}")
        else:
            say(f"{text}\n")

    def finish(self, run: TrainingRun) -> None:
        if run.rank == 0:
            self.show(run, time.monotonic())

    def close(self, run: TrainingRun, error: BaseException | None) -> None:
        if run.rank == 0 and getattr(self, "terminal", False):
            say("\n")


def say(text: str) -> None:
    """Print to standard error; a closed terminal does not end the run."""
    with suppress(OSError):
        print(text, end="", file=sys.stderr, flush=True)


def line(run: TrainingRun, seconds: float, images: int) -> str:
    """Return the progress line of a run, of which this start has seen `images` in `seconds`."""
    rate = images / max(seconds, 1e-9)
    whole = run.steps * run.batch_size
    left = (whole - run.images) / rate if rate > 0 else float("inf")
    then = next_phase(run, whole / rate if rate > 0 else 0.0)
    loss = run.values.get("loss")
    parts = [
        f"{100 * run.step // run.steps:3}%",
        f"{run.images:,} of {whole:,} images",
        f"{rate:,.0f}/s",
        *([f"loss {loss:.4f}"] if loss is not None else []),
        *newest(run.values),
        f"in {clock(seconds)}" if run.finished else f"{clock(max(0.0, left))} left{then}",
        f"{memory() / 2**30:.1f} GB",
    ]
    return "  ".join(parts)


def next_phase(run: TrainingRun, training: float) -> str:
    """Return the next phase and its estimated time, given the seconds of the complete training."""
    about = f" (about {clock(run.then_share * training)})" if run.then_share and training else ""
    return f", then {run.then}{about}" if run.then else ""


def newest(values: dict[str, Any]) -> list[str]:
    """Return the newest first metric of samples, or the validation loss where there is none."""
    judged = list(values.get("sample_metrics", {}).items())[:1]
    held = values.get("validation", {}).get("loss")
    return [f"{name} {value:.4g}" for name, value in judged or ([("validation", held)] if held is not None else [])]


def fitted(text: str, share: float, room: int, drawn: bool = True) -> str:
    """The text in one line of a terminal: behind a gauge where there is room for one, else cut."""
    width = min(24, room - len(text) - 1)
    if width < 8:
        return text[:room]
    full = int(share * width)
    done, rest = ("━", "┄") if drawn else ("#", ".")
    return f"{done * full}{rest * (width - full)} {text}"


def drawable(stream: TextIO) -> bool:
    """Return whether a stream's encoding has the characters of the gauge."""
    try:
        "━┄".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


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
    if torch.backends.mps.is_available() and (allocated := torch.mps.driver_allocated_memory()):
        return allocated  # torch keeps no peak there
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
