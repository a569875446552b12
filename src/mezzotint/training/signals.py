"""Signals that ask a run to stop: they set a flag, which the run looks at where it can stop. Imports no torch."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

AGAIN = tuple(getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name))  # stop, and come back
ASKING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT") if hasattr(signal, name)) + AGAIN
_received: list[str] = []
_before: dict[int, Any] = {}


def listen(numbers: tuple[int, ...] = ASKING) -> tuple[int, ...]:
    """From now on, signals are remembered instead of obeyed; a second Ctrl-C is obeyed.

    Returns:
        those that were not remembered before, for `forget`.
    """
    if threading.current_thread() is not threading.main_thread():
        return ()  # only the main thread may; a run beside others in one process is stopped by its owner
    new = tuple(number for number in numbers if signal.getsignal(number) is not remember)
    for number in new:
        _before[number] = signal.signal(number, remember)
    return new


def forget(numbers: tuple[int, ...] = ASKING) -> None:
    """Give the signals back to whoever had them."""
    for number in numbers:
        if number in _before:
            handler = _before.pop(number)
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
    if not _before:
        _received.clear()


def remember(number: int, _: FrameType | None) -> None:
    name = signal.Signals(number).name
    if name == "SIGINT" and name in _received:
        raise KeyboardInterrupt
    _received.append(name)


def received() -> str | None:
    """The first signal that came since `listen`."""
    return _received[0] if _received else None


class Stopped(KeyboardInterrupt):
    """What a signal other than Ctrl-C becomes where stopping at once does no harm."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    @property
    def again(self) -> bool:
        """Whether who sent it wants the job to be started again."""
        return self.name in {signal.Signals(number).name for number in AGAIN}


def asked_by(name: str) -> KeyboardInterrupt:
    return KeyboardInterrupt() if name == "SIGINT" else Stopped(name)


@contextmanager
def obeyed() -> Iterator[None]:
    """Raise Stopped at a signal, or for one that was remembered; KeyboardInterrupt for a Ctrl-C."""

    def obey(number: int, _: FrameType | None) -> None:
        raise asked_by(signal.Signals(number).name)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    name = received()
    heeded = [n for n in ASKING if n != signal.SIGINT or signal.getsignal(n) is remember]  # Python obeys Ctrl-C itself
    if name and signal.Signals[name] in heeded:
        raise asked_by(name)
    before = {number: signal.signal(number, obey) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
