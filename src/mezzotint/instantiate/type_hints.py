"""Whether a value of the config may stand where a type hint stands, and both in the words of their reader."""

import inspect
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mezzotint.errors import ConfigError
from mezzotint.instantiate.locate import locate

Node = Any  # a dict with `_target_`, a dict or list of nodes, or a plain value


def hints_of(target: Callable) -> dict[str, Any]:
    try:
        return typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, AttributeError, TypeError):  # a hint that exists for type checkers alone
        return {}


def matches(value: Node, hint: Any) -> bool:
    """Whether a plain value, or what a node would build, may be passed where `hint` stands."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(matches(value, part) for part in parts)
    if origin is typing.Annotated:
        return matches(value, parts[0])
    if isinstance(value, dict) and "_target_" in value:
        later = value.get("_partial_") is True
        return (origin or hint) in (Callable, Any) if later else target_matches(value, origin or hint)
    if origin is typing.Literal:
        return any(value == part and type(value) is type(part) for part in parts)
    if hint is Any or isinstance(hint, typing.TypeVar):
        return True
    if hint in (None, type(None)):
        return value is None
    if hint in (int, float):
        number = isinstance(value, (int, float) if hint is float else int) and not isinstance(value, bool)
        return number and value == value  # not a number is none
    kind = origin or hint
    if not isinstance(kind, type):
        return True
    if getattr(kind, "_is_protocol", False):
        return False
    if isinstance(value, (list, tuple)):
        return (kind is tuple or issubclass(list, kind)) and items_fit(value, kind, parts)
    if isinstance(value, dict):
        return issubclass(dict, kind) and (len(parts) < 2 or all(matches(item, parts[1]) for item in value.values()))
    return isinstance(value, str if issubclass(kind, Path) else kind)


def target_matches(node: dict, kind: Any) -> bool:
    """Whether the node's target is of this kind; a function's result, and a protocol, are given the benefit."""
    if kind in (int, float, str, bool, list, tuple, dict, type(None), typing.Literal):
        return False
    try:
        target = locate(node["_target_"])
    except ConfigError:
        return True  # said elsewhere
    classes = inspect.isclass(target) and inspect.isclass(kind) and not getattr(kind, "_is_protocol", False)
    return not classes or issubclass(target, kind)


def items_fit(values: Sequence, kind: type, parts: tuple) -> bool:
    if not parts:
        return True
    if kind is tuple and parts[-1] is not Ellipsis:
        return len(values) == len(parts) and all(map(matches, values, parts))
    return all(matches(value, parts[0]) for value in values)


def coerce(value: Any, hint: Any) -> Any:
    """YAML knows lists alone and writes 1 for 1.0: give a tuple or a float where that is what the hint says."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return coerce(value, next((part for part in parts if matches(value, part)), Any))
    if isinstance(value, list) and (origin or hint) is tuple:
        inner = parts if parts and parts[-1] is not Ellipsis else parts[:1] * len(value)
        return tuple(map(coerce, value, inner)) if inner else tuple(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def format_type(hint: Any) -> str:
    """A type hint in the words of its reader: `int`, `float or None`, `one of 'a', 'b'`."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(format_type(part) for part in parts))
    if origin is typing.Literal:
        return f"one of {', '.join(map(repr, parts))}"
    if hint is type(None):
        return "null"
    if origin is not None:
        inner = ", ".join("..." if part is Ellipsis else format_type(part) for part in parts)
        return f"{getattr(origin, '__name__', origin)}[{inner}]"
    return getattr(hint, "__name__", str(hint))


def format_value(value: Node) -> str:
    if isinstance(value, dict) and "_target_" in value:
        return str(value["_target_"]).rpartition(".")[2]
    if isinstance(value, str) and is_number(value):
        return f"the text {value!r} (YAML reads a number such as 1e-4 only as 1.0e-4)"
    if isinstance(value, float) and value.is_integer():
        return f"{value!r} (a whole number is written {value:.0f})"
    return repr(value)


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
