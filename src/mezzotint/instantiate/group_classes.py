"""Checks that the class of a node suits its config group."""

import inspect
from typing import Any

from mezzotint.instantiate.trust import NEEDED, bases

METHODS = {"optimizer": ("build", "rate"), "guidance": ("__call__",)}  # that suffice without the base class
NAMED = ("metrics", "callbacks", "logger")  # groups of several named nodes


def group_of(where: str) -> str | None:
    """Return the group whose node is at this place of the config; None inside of a node."""
    group, dot, name = where.partition(".")
    whole = bool(name) and not set(name) & {".", "["} if group in NAMED else not dot
    return group if group in NEEDED and whole else None


def misfit(found: Any, where: str) -> str | None:
    """Return why a class does not suit its place in the config; None if it does, or if only calling it can show."""
    group = group_of(where)
    if group is None or not inspect.isclass(found) or set(NEEDED[group]) & bases(found):
        return None
    if group in METHODS and set(METHODS[group]) <= set(dir(found)):
        return None
    needed = " or ".join(base.rpartition(".")[2] for base in NEEDED[group])
    article = "an" if needed[0] in "AEIOU" else "a"
    return f"{where}: {found.__name__} is not {article} {needed}, as {group}= requires"
