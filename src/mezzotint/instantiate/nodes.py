"""Describing objects as plain config: the inverse of `build`."""

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
    """An object that cannot be described as config, because its constructor's arguments are unknown."""


class Recorded:
    """Base of classes that keep the arguments of their construction."""

    constructed: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        made = super().__new__(cls)
        object.__setattr__(made, "constructed", (args, kwargs))
        return made


def node_of(part: Any) -> Node:
    """Return the node from which `build` makes an equal object; plain values are returned as they are.

    Arguments are those recorded by a `Recorded` object, the fields of a dataclass, else attributes of the same names.

    Raises:
        Undescribed: the class cannot be imported by its name, or an argument is not known.
    """
    match part:
        case None | bool() | int() | float() | str():
            return part
        case Path():
            return str(part)
        case partial(func=type() as kind, args=()):
            given = {key: node_of(value) for key, value in part.keywords.items()}
            return {"_target_": path_of(kind), "_partial_": True} | given
        case type():
            return {"_target_": path_of(part), "_partial_": True}
        case Sequence():
            return [node_of(item) for item in part]
        case Mapping():
            return {str(key): node_of(value) for key, value in part.items()}
    return {"_target_": path_of(type(part))} | {key: node_of(value) for key, value in arguments(part).items()}


def arguments(part: Any) -> dict[str, Any]:
    if isinstance(part, Recorded):
        args, kwargs = part.constructed
        return dict(inspect.signature(type(part)).bind(*args, **kwargs).arguments)
    if is_dataclass(part):
        return {item.name: getattr(part, item.name) for item in fields(part) if item.init}
    kind = type(part)
    try:
        parameters = inspect.signature(kind).parameters.values()
    except ValueError:
        raise Undescribed(f"{kind.__name__} has no signature, so its arguments are unknown") from None
    if free := [p.name for p in parameters if p.kind is p.VAR_POSITIONAL]:
        raise Undescribed(f"{kind.__name__} takes any number of {free[0]}")
    named = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
    if lost := [name for name in named if not hasattr(part, name)]:
        raise Undescribed(
            f"{kind.__name__} does not keep its argument {lost[0]!r}. Set self.{lost[0]} = {lost[0]}, or derive it "
            "from mezzotint.instantiate.nodes.Recorded"
        )
    return {name: getattr(part, name) for name in named}


def path_of(kind: type) -> str:
    """Return the dotted path that imports a class: of ours the public one, which outlives a move of the class.

    For a script, the module is named like its file.
    """
    module, name = kind.__module__, kind.__qualname__
    if module == "__main__":
        file = getattr(sys.modules[module], "__file__", None)
        if not file:
            raise Undescribed(f"{name} is defined in a notebook or terminal; move it to a file")
        module = Path(file).stem
    elif getattr(import_module(module), name, None) is not kind:
        raise Undescribed(f"{name} cannot be imported by its name")
    if "." in name:
        raise Undescribed(f"{name} is nested; move it to the top level of its file")
    exporting = (package for package in packages(module) if getattr(import_module(package), name, None) is kind)
    return f"{next(exporting, module)}.{name}"


def packages(module: str) -> list[str]:
    """Return the packages around a module of ours, from its room inwards."""
    first, *parts = module.split(".")
    return [".".join((first, *parts[:depth])) for depth in range(1, len(parts))] if first == "mezzotint" else []
