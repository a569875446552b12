"""What a user can mend: shown as one line without a traceback. Everything else is a bug and shows where it happened."""

import errno


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
