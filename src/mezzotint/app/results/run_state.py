"""The state of a run while a process trains it: status.json and train.log."""

import os
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from mezzotint.app.config.job import Job
from mezzotint.app.terminal import display_path
from mezzotint.errors import TrainingError, as_user_error
from mezzotint.runs import RunDir


@contextmanager
def recorded(directory: Path, job: Job, log: TextIO) -> Iterator[None]:
    """Keep the run's state, and put what ended it into its log before anybody else hears of it."""
    start = {
        "state": "running",
        "error": None,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": time.time(),
    }
    RunDir(directory).update_status(**start, budget=job.budget)
    log.write(f"{time.strftime('%F %T')} started\n")
    try:
        yield
    except KeyboardInterrupt:
        record_end(directory, job, log, "preempted", None)
        print(f"`mezzotint train run={display_path(directory)}` resumes it", file=sys.stderr)
        raise
    except Exception as error:
        known = as_user_error(error)
        text = traceback.format_exc() if known is None else str(known)
        record_end(directory, job, log, "failed", text)
        if known is None:
            print(text, file=sys.stderr)
        said = f"{type(error).__name__}: {error}" if known is None else text
        raise TrainingError(f"{display_path(directory)} failed: {said}") from error
    log.write(f"{time.strftime('%F %T')} done\n")


def record_end(directory: Path, job: Job, log: TextIO, state: str, error: str | None) -> None:
    step = RunDir(directory).newest_step()
    last = error.strip().splitlines()[-1] if error else None
    with suppress(OSError):  # a disk that is full for this too
        RunDir(directory).update_status(state=state, error=last, steps=step, images=step * job.batch_size)
    with suppress(OSError):
        os.write(log.fileno(), f"{time.strftime('%F %T')} {state}\n{error or ''}\n".encode(errors="backslashreplace"))
