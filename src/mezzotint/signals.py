"""Signals that stop a run: handlers set a flag, which the run checks where it can stop. Does not import torch."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

REQUEUE_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name)
)  # stop and requeue
STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT") if hasattr(signal, name)) + REQUEUE_SIGNALS
_received: list[str] = []
_before: dict[int, Any] = {}


def install_handlers(numbers: tuple[int, ...] = STOP_SIGNALS) -> tuple[int, ...]:
    """Record signals instead of acting on them, except for a second Ctrl-C.

    Returns:
        The signals that were not recorded before, for `restore_handlers`.
    """
    if threading.current_thread() is not threading.main_thread():
        return ()  # handlers can only be set in the main thread; other runs are stopped by their caller
    new = tuple(number for number in numbers if signal.getsignal(number) is not record_signal)
    for number in new:
        _before[number] = signal.signal(number, record_signal)
    return new


def restore_handlers(numbers: tuple[int, ...] = STOP_SIGNALS) -> None:
    """Restore the previous handlers."""
    for number in numbers:
        if number in _before:
            handler = _before.pop(number)
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
    if not _before:
        _received.clear()


def record_signal(number: int, _: FrameType | None) -> None:
    name = signal.Signals(number).name
    if name == "SIGINT" and name in _received:
        raise KeyboardInterrupt
    _received.append(name)


def pending_signal() -> str | None:
    """Return the first signal since `install_handlers`."""
    return _received[0] if _received else None


class Preempted(KeyboardInterrupt):
    """Raised for a signal other than Ctrl-C where it is safe to stop immediately."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    @property
    def again(self) -> bool:
        """Return True if the signal requests that the job be requeued."""
        return self.name in {signal.Signals(number).name for number in REQUEUE_SIGNALS}


def as_exception(name: str) -> KeyboardInterrupt:
    return KeyboardInterrupt() if name == "SIGINT" else Preempted(name)


@contextmanager
def raise_on_signal() -> Iterator[None]:
    """Raise Preempted at a signal, also for a recorded one; KeyboardInterrupt for Ctrl-C."""

    def interrupt(number: int, _: FrameType | None) -> None:
        raise as_exception(signal.Signals(number).name)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    name = pending_signal()
    handled = [
        n for n in STOP_SIGNALS if n != signal.SIGINT or signal.getsignal(n) is record_signal
    ]  # Python handles Ctrl-C itself
    if name and signal.Signals[name] in handled:
        raise as_exception(name)
    before = {number: signal.signal(number, interrupt) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
