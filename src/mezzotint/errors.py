"""What a user can mend: shown as one line without a traceback. Everything else is a bug and shows where it happened."""

import errno
import os


class MezzotintError(Exception):
    """Base of all errors that say what was given, why it cannot be and what to do."""


class ConfigError(MezzotintError, ValueError):
    """A config that cannot work."""


class DataError(MezzotintError, ValueError):
    """Data that is missing, damaged or of another shape than promised."""


class TrainingError(MezzotintError, RuntimeError):
    """Training that cannot go on, such as a loss that is not finite."""


def no_room(error: BaseException | None) -> bool:
    """Whether a disk or a quota was full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def of_machine(error: BaseException | None) -> str | None:
    """One line for what a machine or its files refuse and a user can mend; None for everything else."""
    if no_room(error):
        return f"{_place(error)}no space is left on the disk, or in the quota; make room, then give the command again"
    if no_memory(error):
        return "out of memory: this process may not have more (see `ulimit -v`); ask for less at once"
    if isinstance(error, OSError) and error.errno in _IN_THE_WAY and _place(error):
        return f"{_place(error)}{os.strerror(error.errno).lower()}; remove it, or move it away"
    return None


def no_memory(error: BaseException | None) -> bool:
    """Whether the machine's own memory, or what a process may have of it, was used up."""
    said = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, (RuntimeError, ImportError, OSError)) and any(words in said for words in _NO_MEMORY))
    )


_IN_THE_WAY = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ELOOP)
_NO_MEMORY = ("can't allocate memory", "cannot allocate memory", "failed to map segment", "can't start new thread")


def _place(error: BaseException | None) -> str:
    place = getattr(error, "filename2", None) or getattr(error, "filename", None)
    return f"{os.fsdecode(place)}: " if isinstance(place, (str, bytes)) else ""
