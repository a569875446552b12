"""Errors that a user can fix, shown as one line without a traceback. All others are bugs and show a traceback."""

import errno
import io
import os


class MezzotintError(Exception):
    """Base of all errors, whose messages state what was given, why it is invalid and what to do.

    Attributes:
        exit_code: of a command that ends with it.
    """

    exit_code = 1


class ConfigError(MezzotintError, ValueError):
    """An invalid config."""

    exit_code = 2


class DataError(MezzotintError, ValueError):
    """Data that is missing, damaged or not of the declared shape."""

    exit_code = 2


class TrainingError(MezzotintError, RuntimeError):
    """Training that cannot continue, for example because of a loss that is not finite."""


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether the error means that a disk or quota is full."""
    match error:
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return True
    return False


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether the error means that host memory, or the process's limit of it, is exhausted."""
    match error:
        case MemoryError() | OSError(errno=errno.ENOMEM):
            return True
        case RuntimeError() | ImportError() | OSError():
            return any(words in str(error).lower() for words in _NO_MEMORY)
    return False


def as_user_error(error: BaseException | None) -> MezzotintError | None:
    """Return the error as one that a user can fix: ours, or one of the machine, its files or the network; else None."""
    said = " ".join(str(error).split())
    match error:
        case MezzotintError():
            return error
        case _ if is_disk_full(error):
            return TrainingError(f"{_place(error)}the disk or quota is full; free space, {_AGAIN}")
        case _ if is_out_of_memory(error):
            return TrainingError("out of memory, or at the limit of this process (`ulimit -v`); use smaller batches")
        case OverflowError() | RuntimeError() if any(words in said.lower() for words in _TOO_LARGE):
            return ConfigError(
                f"a number in the config is too large to compute with ({said[:200]}); give a smaller one"
            )
        case RuntimeError() if known := next((words for words in _REMEDIES if words in said.lower()), None):
            return TrainingError(f"{known}; {_REMEDIES[known]}")
        case OSError() if not _is_bug(error):
            kind = ConfigError if error.errno in _CHOSEN else TrainingError
            return kind(f"{_place(error)}{_why(error)}; {_cure(error)}")
    return None


_NO_MEMORY = ("can't allocate memory", "cannot allocate memory", "failed to map segment", "can't start new thread")
_TOO_LARGE = ("int too large", "int too big", "size calculation overflowed", "integer multiplication overflow")
_CHOSEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG)  # of a path that the user chose
_AGAIN = "then run the command again"
_FILES = "raise the limit of open files (`ulimit -n`), or set hardware.workers=0"
_REMEDIES = {"too many open files": _FILES, "received 0 items of ancdata": _FILES}  # errors without a number
_DEVICE = f"the disk or device fails: check it (`dmesg`), {_AGAIN}"
_NETWORK = f"the connection to the server was lost: check the network, {_AGAIN}"
_CURES = {
    **dict.fromkeys(_CHOSEN[:3], "choose another folder with paths.runs=, paths.cache= or data.root="),
    errno.ENAMETOOLONG: "choose a shorter name",
    **dict.fromkeys((errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ELOOP), "remove or rename it"),
    errno.ENOENT: f"it was moved or removed, perhaps by another process: restore it, {_AGAIN}",
    **dict.fromkeys((errno.EIO, errno.ENXIO, errno.ENODEV), _DEVICE),
    **dict.fromkeys((errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ETIMEDOUT), _NETWORK),
    **dict.fromkeys((errno.ENETDOWN, errno.ENETUNREACH, errno.ESHUTDOWN, errno.EADDRNOTAVAIL), _NETWORK),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), _FILES),
    **dict.fromkeys((errno.ETXTBSY, errno.EBUSY, errno.EAGAIN, errno.EADDRINUSE), f"stop what uses it, {_AGAIN}"),
    errno.EFBIG: f"raise the limit of file sizes (`ulimit -f`, or the file system), {_AGAIN}",
    **dict.fromkeys((errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP), "choose a folder on another file system"),
}


def _is_bug(error: OSError) -> bool:
    """Return whether an OSError has nothing to do with the machine; Hydra raises one for a missing config file."""
    return isinstance(error, io.UnsupportedOperation) or type(error).__module__.partition(".")[0] == "hydra"


def _why(error: OSError) -> str:
    reason = getattr(error, "reason", None)  # wrapped by urllib
    said = error.strerror or str(reason if reason is not None else error) or type(error).__name__
    lines = [line.strip() for line in str(said).splitlines() if line.strip()]  # of a data worker, with traceback
    last = lines[-1][:300] if "Traceback" in said else " ".join(lines)[:300]
    return last.lower() if error.strerror else last


def _cure(error: OSError) -> str:
    cause = getattr(error, "reason", error)
    number = getattr(cause, "errno", None) or error.errno
    network = isinstance(cause, (ConnectionError, TimeoutError)) or type(cause).__module__ in _OF_NETWORKS
    return _NETWORK if network and number not in _CURES else _CURES.get(number or 0, f"fix the cause, {_AGAIN}")


_OF_NETWORKS = ("socket", "ssl", "http.client", "urllib.error", "requests.exceptions")


def _place(error: BaseException | None) -> str:
    place = getattr(error, "filename2", None) or getattr(error, "filename", None)
    text = os.fsdecode(place) if isinstance(place, (str, bytes)) else ""
    return f"{text if len(text) <= 300 else f'{text[:40]}...'}: " if text else ""
