"""Signals that ask a run to stop: they set a flag, which the run looks at where it can stop. Imports no torch."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

REQUEUE_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name)
)  # stop, and come back
STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT") if hasattr(signal, name)) + REQUEUE_SIGNALS
_received: list[str] = []
_before: dict[int, Any] = {}


def install_handlers(numbers: tuple[int, ...] = STOP_SIGNALS) -> tuple[int, ...]:
    """From now on, signals are remembered instead of obeyed; a second Ctrl-C is obeyed.

    Returns:
        those that were not remembered before, for `forget`.
    """
    if threading.current_thread() is not threading.main_thread():
        return ()  # only the main thread may; a run beside others in one process is stopped by its owner
    new = tuple(number for number in numbers if signal.getsignal(number) is not record_signal)
    for number in new:
        _before[number] = signal.signal(number, record_signal)
    return new


def restore_handlers(numbers: tuple[int, ...] = STOP_SIGNALS) -> None:
    """Give the signals back to whoever had them."""
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
    """The first signal that came since `listen`."""
    return _received[0] if _received else None


class Preempted(KeyboardInterrupt):
    """What a signal other than Ctrl-C becomes where stopping at once does no harm."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    @property
    def again(self) -> bool:
        """Whether who sent it wants the job to be started again."""
        return self.name in {signal.Signals(number).name for number in REQUEUE_SIGNALS}


def as_exception(name: str) -> KeyboardInterrupt:
    return KeyboardInterrupt() if name == "SIGINT" else Preempted(name)


@contextmanager
def raise_on_signal() -> Iterator[None]:
    """Raise Stopped at a signal, or for one that was remembered; KeyboardInterrupt for a Ctrl-C."""

    def obey(number: int, _: FrameType | None) -> None:
        raise as_exception(signal.Signals(number).name)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    name = pending_signal()
    heeded = [
        n for n in STOP_SIGNALS if n != signal.SIGINT or signal.getsignal(n) is record_signal
    ]  # Python obeys Ctrl-C itself
    if name and signal.Signals[name] in heeded:
        raise as_exception(name)
    before = {number: signal.signal(number, obey) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
