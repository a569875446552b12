"""Importing the class or function that a `_target_` names, and suggestions for misspelt names."""

import difflib
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib import import_module
from typing import Any

from mezzotint.errors import ConfigError
from mezzotint.instantiate import renamed
from mezzotint.instantiate.trust import current


def locate(path: Any, where: str = "") -> Callable:
    """Return the class or function that a `_target_` names. Raises ConfigError if it is missing or not trusted."""
    place = join(where, "_target_")
    module, _, name = path.rpartition(".") if isinstance(path, str) else ("", "", "")
    if not module or module.startswith("."):
        raise ConfigError(
            f"{place}: {path!r} is not the dotted path of a class or function, such as package.module.Name"
        )
    current().admit(path, place)
    try:
        found = imported(module, name)
    except ImportError as error:
        raise ConfigError(f"{place}: cannot import {path!r} ({error})") from error
    except AttributeError as error:
        room = import_module(module)
        known = getattr(room, "__all__", dir(room))
        close = f"; it is now {renamed.TARGETS[path]}" if path in renamed.TARGETS else did_you_mean(name, known)
        raise ConfigError(f"{place}: {module} has no {name!r}{close}") from error
    if not callable(found):
        raise ConfigError(f"{place}: {path!r} is not a class or function")
    current().accept(found, path, place)
    return found


def imported(module: str, name: str) -> Any:
    """Return a name of a module; that of the package around it for a class of ours that has moved since."""
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError):
        package = module.rpartition(".")[0]
        if not package.startswith("mezzotint."):
            raise
        with suppress(ImportError, AttributeError):
            return imported(package, name)
        raise


def join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else str(key)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'width'?`, or nothing if no known name is close."""
    close = difflib.get_close_matches(word, list(known), 1, 0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
