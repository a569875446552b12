"""Errors that a user can fix, shown as one line without a traceback. All others are bugs and show a traceback."""

import errno
import io
import os


class MezzotintError(Exception):
    """Base of all errors, whose messages say what was given, why it is wrong and what to do."""


class ConfigError(MezzotintError, ValueError):
    """An invalid config."""


class DataError(MezzotintError, ValueError):
    """Data that is missing, damaged or not of the declared shape."""


class TrainingError(MezzotintError, RuntimeError):
    """Training that cannot continue, for example because of a loss that is not finite."""


def no_room(error: BaseException | None) -> bool:
    """Return whether the error means that a disk or quota is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def mendable(error: BaseException | None) -> MezzotintError | None:
    """Return the error as one that a user can fix: ours, or one of the machine, its files or the network; else None."""
    if isinstance(error, MezzotintError):
        return error
    if no_room(error):
        return TrainingError(f"{_place(error)}no space is left on the disk, or in the quota; {_MAKE_ROOM}")
    if no_memory(error):
        return TrainingError("out of memory: this process may not have more (see `ulimit -v`); ask for less at once")
    if isinstance(error, (OverflowError, RuntimeError)) and any(words in str(error).lower() for words in _TOO_LARGE):
        return ConfigError(f"a number of the config is too large to count with ({' '.join(str(error).split())[:200]})")
    if not isinstance(error, OSError) or isinstance(error, io.UnsupportedOperation) or _of_config(error):
        told = next((words for words in _SAID if words in str(error).lower()), None)
        return TrainingError(f"{told}; {_SAID[told]}") if told and isinstance(error, RuntimeError) else None
    kind = ConfigError if error.errno in _ASKED else TrainingError
    return kind(f"{_place(error)}{_why(error)}; {_cure(error)}")


def no_memory(error: BaseException | None) -> bool:
    """Return whether the error means that host memory, or the process's limit of it, is exhausted."""
    said = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, (RuntimeError, ImportError, OSError)) and any(words in said for words in _NO_MEMORY))
    )


_NO_MEMORY = ("can't allocate memory", "cannot allocate memory", "failed to map segment", "can't start new thread")
_TOO_LARGE = ("int too large", "int too big", "size calculation overflowed", "integer multiplication overflow")
_ASKED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG)  # of a place that was asked for
_AGAIN = "then give the command again"
_MAKE_ROOM = f"make room, {_AGAIN}"
_FILES = "let a process have more at once (`ulimit -n`), or ask for fewer by hardware.workers=0"
_SAID = {"too many open files": _FILES, "received 0 items of ancdata": _FILES}  # where the number is lost
_DEVICE = f"its disk or device fails: see that it works (`dmesg` tells), {_AGAIN}"
_NETWORK = f"the connection to its server was lost: see that the network works, {_AGAIN}"
_CURES = {
    **dict.fromkeys(_ASKED[:3], "choose another place by paths.runs=, paths.cache= or data.root="),
    errno.ENAMETOOLONG: "choose a shorter one",
    **dict.fromkeys((errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ELOOP), "remove it, or move it away"),
    errno.ENOENT: f"it was moved or removed, by another process perhaps: put it back, {_AGAIN}",
    **dict.fromkeys((errno.EIO, errno.ENXIO, errno.ENODEV), _DEVICE),
    **dict.fromkeys((errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ETIMEDOUT), _NETWORK),
    **dict.fromkeys((errno.ENETDOWN, errno.ENETUNREACH, errno.ESHUTDOWN, errno.EADDRNOTAVAIL), _NETWORK),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), _FILES),
    **dict.fromkeys((errno.ETXTBSY, errno.EBUSY, errno.EAGAIN, errno.EADDRINUSE), f"end what else uses it, {_AGAIN}"),
    errno.EFBIG: f"let files be larger there (`ulimit -f` and the file system bound them), {_AGAIN}",
    **dict.fromkeys((errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP), "choose a place on another file system"),
}


def _of_config(error: OSError) -> bool:
    """Return whether Hydra raised it for a missing config file."""
    return type(error).__module__.partition(".")[0] == "hydra"


def _why(error: OSError) -> str:
    reason = getattr(error, "reason", None)  # of what urllib wraps
    said = error.strerror or str(reason if reason is not None else error) or type(error).__name__
    lines = [line.strip() for line in str(said).splitlines() if line.strip()]  # of a data worker, with its traceback
    last = lines[-1][:300] if "Traceback" in said else " ".join(lines)[:300]
    return last.lower() if error.strerror else last


def _cure(error: OSError) -> str:
    cause = getattr(error, "reason", error)
    number = getattr(cause, "errno", None) or error.errno
    network = isinstance(cause, (ConnectionError, TimeoutError)) or type(cause).__module__ in _OF_NETWORKS
    return _NETWORK if network and number not in _CURES else _CURES.get(number or 0, f"see to that, {_AGAIN}")


_OF_NETWORKS = ("socket", "ssl", "http.client", "urllib.error", "requests.exceptions")


def _place(error: BaseException | None) -> str:
    place = getattr(error, "filename2", None) or getattr(error, "filename", None)
    text = os.fsdecode(place) if isinstance(place, (str, bytes)) else ""
    return f"{text if len(text) <= 300 else f'{text[:40]}...'}: " if text else ""
