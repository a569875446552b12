"""Attributes of a base class that a subclass computes."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

T = TypeVar("T")


def computed(get: Callable[[Any], T]) -> T:
    """A property in place of an attribute that the base class declares; type checkers see the attribute."""
    return cast(T, property(get))
