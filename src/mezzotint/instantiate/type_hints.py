"""Type hints: whether a config value matches one, conversion to it, and both in plain words for messages."""

import inspect
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mezzotint.errors import ConfigError
from mezzotint.instantiate.locate import locate
from mezzotint.plain_data import as_dict, is_integer

Node = Any  # a dict with `_target_`, a dict or list of nodes, or a plain value


def hints_of(target: Callable) -> dict[str, Any]:
    try:
        return typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, AttributeError, TypeError):  # a hint that exists for type checkers alone
        return {}


def matches(value: Node, hint: Any) -> bool:
    """Return whether a plain value, or the object that a node builds, matches a type hint."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(matches(value, part) for part in parts)
    if origin is typing.Annotated:
        return matches(value, parts[0])
    if "_target_" in as_dict(value):
        later = value.get("_partial_") is True
        return (origin or hint) in (Callable, Any) if later else target_matches(value, origin or hint)
    if origin is typing.Literal:
        return any(value == part and type(value) is type(part) for part in parts)
    if hint is Any or isinstance(hint, typing.TypeVar):
        return True
    if hint in (None, type(None)):
        return value is None
    if hint in (int, float):
        number = is_integer(value) or (hint is float and isinstance(value, float))
        return number and value == value  # NaN is not a number
    kind = origin or hint
    if not isinstance(kind, type):
        return True
    if getattr(kind, "_is_protocol", False):
        return False
    match value:
        case list() | tuple():
            return (kind is tuple or issubclass(list, kind)) and items_fit(value, kind, parts)
        case dict():
            fits = len(parts) < 2 or all(matches(item, parts[1]) for item in value.values())
            return issubclass(dict, kind) and fits
    return isinstance(value, str if issubclass(kind, Path) else kind)


def target_matches(node: dict, kind: Any) -> bool:
    """Return whether a node builds this kind of object; True if only calling it can show (functions, protocols)."""
    if kind in (int, float, str, bool, list, tuple, dict, type(None), typing.Literal):
        return False
    try:
        target = locate(node["_target_"])
    except ConfigError:
        return True  # reported by `check`
    classes = inspect.isclass(target) and inspect.isclass(kind) and not getattr(kind, "_is_protocol", False)
    return not classes or issubclass(target, kind)


def items_fit(values: Sequence, kind: type, parts: tuple) -> bool:
    if not parts:
        return True
    if kind is tuple and parts[-1] is not Ellipsis:
        return len(values) == len(parts) and all(map(matches, values, parts))
    return all(matches(value, parts[0]) for value in values)


def coerce(value: Any, hint: Any) -> Any:
    """Convert a list to a tuple or an int to a float where the hint requires it, since YAML has no tuples."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return coerce(value, next((part for part in parts if matches(value, part)), Any))
    if isinstance(value, list) and (origin or hint) is tuple:
        inner = parts if parts and parts[-1] is not Ellipsis else parts[:1] * len(value)
        return tuple(map(coerce, value, inner)) if inner else tuple(value)
    if hint is float and is_integer(value):
        return float(value)
    return value


def format_type(hint: Any) -> str:
    """Return a type hint in words: `int`, `float or null`, `one of 'a', 'b'`."""
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
    match value:
        case {"_target_": target}:
            return str(target).rpartition(".")[2]
        case str() if is_number(value):
            return f"the text {value!r} (YAML reads 1e-4 as text; write 1.0e-4)"
        case float() if value.is_integer():
            return f"{value!r} (write an integer as {value:.0f})"
    return repr(value)


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
