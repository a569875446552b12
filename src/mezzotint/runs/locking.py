"""The lock of a run: the kernel's lock on its log, which leaves no file behind and ends with its process."""

import fcntl
from contextlib import suppress
from pathlib import Path
from typing import IO

from mezzotint.errors import ConfigError


def hold(log: IO, run: Path) -> None:
    """Lock a run's open log against every other process.

    Raises:
        ConfigError: another process holds it, or the file system has no locks.
    """
    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(f"{run}: another process is training this run") from None
    except OSError as error:
        raise ConfigError(
            f"{run}: files cannot be locked there ({error.strerror}), so two processes could write one run; give a "
            "paths.runs= on another file system, or have this one mounted with locks (flock)"
        ) from error


def share(log: IO) -> None:
    """Take a shared lock if possible, which shows other processes that the run is being trained."""
    with suppress(OSError):
        fcntl.flock(log, fcntl.LOCK_SH | fcntl.LOCK_NB)


def is_held(log: IO) -> bool:
    """Return whether another process holds the lock; False where files cannot be locked."""
    try:
        fcntl.flock(log, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
