"""Objects to plain config, the way back from what `build` makes of it."""

import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

Node = Any  # a dict with `_target_`, a dict or list of nodes, or a plain value


class Undescribed(Exception):
    """An object whose constructor's arguments are not known, and why."""


class Recorded:
    """Base of classes that keep the arguments of their construction."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        made = super().__new__(cls)
        object.__setattr__(made, "constructed", (args, kwargs))
        return made


def node_of(part: Any) -> Node:
    """The node that `build` makes such an object of: `_target_` and its arguments; plain values as they are.

    Arguments are those that a `Recorded` object keeps, the fields of a dataclass, else the attributes of the same name.

    Raises:
        Undescribed: the class cannot be imported by its name, or an argument is not known.
    """
    if part is None or isinstance(part, (bool, int, float, str)):
        return part
    if isinstance(part, Path):
        return str(part)
    if isinstance(part, partial) and isinstance(part.func, type) and not part.args:
        given = {key: node_of(value) for key, value in part.keywords.items()}
        return {"_target_": path_of(part.func), "_partial_": True} | given
    if isinstance(part, type):
        return {"_target_": path_of(part), "_partial_": True}
    if isinstance(part, Sequence):
        return [node_of(item) for item in part]
    if isinstance(part, Mapping):
        return {str(key): node_of(value) for key, value in part.items()}
    return {"_target_": path_of(type(part))} | {key: node_of(value) for key, value in arguments(part).items()}


def arguments(part: Any) -> dict[str, Any]:
    if isinstance(part, Recorded):
        args, kwargs = part.constructed  # type: ignore[attr-defined]
        return dict(inspect.signature(type(part)).bind(*args, **kwargs).arguments)
    if is_dataclass(part):
        return {item.name: getattr(part, item.name) for item in fields(part) if item.init}
    kind = type(part)
    try:
        parameters = inspect.signature(kind).parameters.values()
    except ValueError:
        raise Undescribed(f"{kind.__name__} does not say what it takes") from None
    if free := [p.name for p in parameters if p.kind is p.VAR_POSITIONAL]:
        raise Undescribed(f"{kind.__name__} takes any number of {free[0]}")
    named = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
    if lost := [name for name in named if not hasattr(part, name)]:
        raise Undescribed(
            f"{kind.__name__} does not keep its argument {lost[0]!r}; self.{lost[0]} = {lost[0]}, or the base class "
            "mezzotint.instantiate.nodes.Recorded, would"
        )
    return {name: getattr(part, name) for name in named}


def path_of(kind: type) -> str:
    """The dotted path by which a class is imported, that of a script by the name of its file."""
    module, name = kind.__module__, kind.__qualname__
    if module == "__main__":
        file = getattr(sys.modules[module], "__file__", None)
        if not file:
            raise Undescribed(f"{name} is defined in a notebook or a terminal; put it into a file")
        module = Path(file).stem
    elif getattr(import_module(module), name, None) is not kind:
        raise Undescribed(f"{name} cannot be imported by its name")
    if "." in name:
        raise Undescribed(f"{name} is defined inside of another thing; put it at the top of its file")
    return f"{module}.{name}"
