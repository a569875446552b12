"""Signals that ask a run to stop: they set a flag, and the run stops at the end of a step with a checkpoint."""

import signal
import threading
from types import FrameType
from typing import Any

from mezzotint.training.callback import Callback, Run

ASKING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2") if hasattr(signal, name))
_received: list[str] = []
_before: dict[int, Any] = {}


def listen() -> None:
    """From now on, signals are remembered instead of obeyed; a second Ctrl-C is obeyed. Needs no torch."""
    if threading.current_thread() is not threading.main_thread():
        return  # only the main thread may; a run beside others in one process is stopped by its owner
    for number in ASKING:
        if signal.getsignal(number) is not remember:
            _before[number] = signal.signal(number, remember)


def forget() -> None:
    """Give the signals back to whoever had them."""
    if threading.current_thread() is threading.main_thread():
        for number, handler in _before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
    _before.clear()
    _received.clear()


def remember(number: int, _: FrameType | None) -> None:
    name = signal.Signals(number).name
    if name == "SIGINT" and name in _received:
        raise KeyboardInterrupt
    _received.append(name)


def received() -> str | None:
    """The first signal that came since `listen`."""
    return _received[0] if _received else None


class Preemption(Callback):
    """Stops the run at the end of a step once any rank has been asked to: saves, and leaves it to be resumed.

    Args:
        every: steps between two votes of several ranks; one process looks at every step, which costs nothing.
    """

    order = 90

    def __init__(self, every: int = 10) -> None:
        if every < 1:
            raise ValueError(f"every={every}: give 1 or more steps")
        self.every = every
        self.group: Any = None

    def start(self, run: Run) -> None:
        listen()
        if run.world > 1:
            import torch.distributed as distributed

            backend = distributed.get_backend()
            # a vote over host memory, so that the device is not waited for
            self.group = distributed.group.WORLD if backend == "gloo" else distributed.new_group(backend="gloo")

    def step(self, run: Run) -> None:
        asked = received()
        if run.world == 1:
            run.stopped = asked
        elif run.step % self.every == 0:
            run.stopped = self.vote(asked)

    def vote(self, asked: str | None) -> str | None:
        import torch

        number = torch.tensor(signal.Signals[asked].value if asked else 0)
        torch.distributed.all_reduce(number, torch.distributed.ReduceOp.MAX, group=self.group)
        return signal.Signals(int(number)).name if int(number) else None

    def close(self, run: Run, error: BaseException | None) -> None:
        forget()
