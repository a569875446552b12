"""Plain data: the values of JSON and YAML files, of which nothing is known before they are checked.

A shape is a type or a tuple of types; [SHAPE] for a list; {...: SHAPE} for an object with any keys; {"key": SHAPE} for
an object with these keys and possibly others, where keys that end in "?" are optional. Booleans are no numbers.
"""

import json
import math
from collections.abc import Callable
from typing import Any

MOST_VALUES = 100_000  # maximum number of values in a config
DEEPEST = 64  # maximum nesting depth
DIGITS = 18  # longer integers are read as floats

PLAIN = (dict, list, str, int, float, type(None))
NUMBER = (int, float)
TEXT_OR_NONE = (str, type(None))
NUMBER_OR_NONE = (int, float, type(None))
ANY = object
WORDS = {
    **{int: "an integer", float: "a number", str: "text", bool: "true or false", type(None): "null"},
    **{dict: "an object with names", list: "a list"},
}


# --------------------------------------------------------------------------------------------------------------- access


def as_dict(value: Any) -> dict[Any, Any]:
    """Return the value if it is a dict, else an empty dict."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """Return the value if it is a list, else an empty list."""
    return value if isinstance(value, list) else []


def as_text(value: Any) -> str:
    """Return the value if it is text, else an empty string."""
    return value if isinstance(value, str) else ""


def lookup(value: Any, *keys: str) -> Any:
    """Return the value behind nested keys; None where a key is missing or not inside a dict."""
    for key in keys:
        value = as_dict(value).get(key)
    return value


def is_integer(value: Any) -> bool:
    """Return whether a value is an int and not a bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def number(value: Any) -> Any:
    """Return the value if it is a finite number, else None."""
    match value:
        case bool():
            return None
        case int() | float() if math.isfinite(value):
            return value
    return None


def mapped(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """Return nested dicts and lists with a function applied to every other value; tuples become lists."""
    match value:
        case dict():
            return {key: mapped(item, leaf) for key, item in value.items()}
        case list() | tuple():
            return [mapped(item, leaf) for item in value]
    return leaf(value)


def children(value: Any) -> list[Any]:
    """Return the values in a dict or list; nothing for any other value."""
    match value:
        case dict():
            return [*value.values()]
        case list():
            return value
    return []


# -------------------------------------------------------------------------------------------------------------- parsing


def parse(content: bytes) -> Any:
    """Parse UTF-8 JSON, with NaN and Infinity; raise ValueError if it is invalid or nested too deeply."""
    try:
        value = json.loads(content, parse_int=integer)
    except (RecursionError, MemoryError) as error:
        raise ValueError("it is too deep") from error
    if content.count(b"{") + content.count(b"[") > DEEPEST and depth(value) > DEEPEST:
        raise ValueError("it is too deep")
    return encodable(value) if b"\\ud" in content or b"\\uD" in content else value


def integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= DIGITS else float(digits)


def depth(value: Any) -> int:
    """Return the nesting depth of lists and objects."""
    level, deep = [value], 0
    while level := [item for item in level if isinstance(item, (dict, list))]:
        deep += 1
        level = [inner for item in level for inner in children(item)]
    return deep


def encodable(value: Any) -> Any:
    """Return the value with lone surrogates, which cannot be encoded, replaced in every key and string."""
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case dict():
            return {encodable(key): encodable(item) for key, item in value.items()}
        case list():
            return [encodable(item) for item in value]
    return value


# ----------------------------------------------------------------------------------------------------------- validation


def not_plain(value: Any) -> str | None:
    """Return why a value is not plain data of bounded size and depth, cycles included; None if it is."""
    level, deep, count = [value], 0, 0
    while level:
        deep, count = deep + 1, count + len(level)
        if deep > DEEPEST or count > MOST_VALUES:
            return "it is too deep" if deep > DEEPEST else f"it has more than {MOST_VALUES:,} values"
        if unknown := [item for item in level if not isinstance(item, PLAIN)]:
            return f"{type(unknown[0]).__name__} {str(unknown[0])[:40]!r} is not a value of a config"
        if keys := [key for item in level for key in as_dict(item) if not isinstance(key, str)]:
            return f"the key {keys[0]!r} is not text"
        level = [inner for item in level for inner in children(item)]
    return None


def mismatch(value: Any, shape: Any, where: str = "") -> str | None:
    """Return how a value differs from a shape, in words; None if it does not."""
    match shape:
        case list():
            return _list_mismatch(value, shape[0], where)
        case dict():
            return _object_mismatch(value, shape, where)
        case tuple():
            types = shape
        case _:
            types = (shape,)
    if shape is ANY or (isinstance(value, types) and not (isinstance(value, bool) and bool not in types)):
        return None
    return f"{where or 'it'} is {spell(value)} instead of {' or '.join(WORDS.get(one, one.__name__) for one in types)}"


def _list_mismatch(value: Any, inner: Any, where: str) -> str | None:
    if not isinstance(value, list):
        return f"{where or 'it'} is {spell(value)} instead of a list"
    return next((why for i, item in enumerate(value) if (why := mismatch(item, inner, f"{where}[{i}]"))), None)


def _object_mismatch(value: Any, shape: dict[Any, Any], where: str) -> str | None:
    if not isinstance(value, dict):
        return f"{where or 'it'} is {spell(value)} instead of an object with names"
    pairs = [(key, shape[...]) for key in value] if ... in shape else [*shape.items()]
    for key, inner in pairs:
        bare = key if ... in shape else key.removesuffix("?")
        place = f"{where}.{bare}" if where else bare
        if bare not in value:
            if bare == key:
                return f"it has no {place}"
        elif why := mismatch(value[bare], inner, place):
            return why
    return None


def spell(value: Any) -> str:
    """Return a value in words, for messages."""
    match value:
        case dict():
            return WORDS[dict]
        case list():
            return WORDS[list]
        case str() | int() | float() | None:
            text = json.dumps(value)
            return text if len(text) <= 40 else f"{text[:40]}..."
    return type(value).__name__
