"""Validation of numeric settings: finite unless the default is infinite, and within declared bounds."""

import abc
import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

IMMENSE = "this integer does not fit into 64 bits; give a smaller one"
BOUNDS = ("0 or more", "above 0")  # of `natural` and of `positive` settings


def infinite(value: Any) -> bool:
    """Return whether a number, or one in a list, is infinite or NaN."""
    match value:
        case list() | tuple():
            return any(map(infinite, value))
        case float():
            return not math.isfinite(value)
    return False


def immense(value: Any) -> bool:
    """Return whether an integer, or one in a list, exceeds 64 bits."""
    match value:
        case list() | tuple():
            return any(map(immense, value))
        case int():
            return value.bit_length() > 64
    return False


def unbounded(target: Callable, given: Mapping[str, Any]) -> list[str]:
    """Return the names of arguments that are infinite or NaN; infinity is allowed where the default is infinite."""
    suspects = [name for name, value in given.items() if infinite(value)]
    if not suspects:
        return []
    parameters = inspect.signature(target).parameters
    defaults = {name: parameters[name].default for name in suspects if name in parameters}
    return [name for name in suspects if not (infinite(defaults.get(name)) and given[name] == given[name])]


class Finite(abc.ABCMeta):
    """Metaclass whose instances only have finite settings in range; raises ValueError otherwise.

    A class lists settings that must be above 0 in `positive`, and those that must be 0 or more in `natural`.
    """

    if not TYPE_CHECKING:  # keep the constructors' types for type checkers

        def __call__(cls, *args: Any, **given: Any) -> Any:
            if cls.ours and any(map(infinite, (*args, *given.values()))):
                named = dict(zip(inspect.signature(cls).parameters, args, strict=False)) | given
                if wrong := unbounded(cls, named):
                    raise ValueError(
                        f"{cls.__name__}: {wrong[0]}={named[wrong[0]]} is not finite; give a finite number"
                    )
            for name, value in cls.out_of_range(args, given):
                raise ValueError(f"{cls.__name__}: {name}={value} must be {BOUNDS[name in cls.declared('positive')]}")
            return super().__call__(*args, **given)

    @property
    def ours(cls) -> bool:
        """True if this package defines the constructor; those of other packages are not checked."""
        return str(getattr(cls.__init__, "__module__", "")).startswith("mezzotint.")

    def declared(cls, bound: str) -> set[str]:
        """Return the settings that a class and its bases declare "positive" or "natural"."""
        said = [vars(kind).get(bound) for kind in cls.__mro__]
        return {
            name for names in said if isinstance(names, tuple) for name in names
        }  # user classes may use the name otherwise

    def out_of_range(cls, args: tuple[Any, ...], given: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
        """Yield the settings below their declared bound, with their values."""
        positive, natural = cls.declared("positive"), cls.declared("natural")
        if not positive and not natural:
            return
        named = dict(zip(inspect.signature(cls).parameters, args, strict=False)) | dict(given)
        for name in (name for name in named if name in positive or name in natural):
            match named[name]:
                case bool():
                    continue
                case int() | float() as value if value < 0 or (value == 0 and name in positive):
                    yield name, value

    @property
    def __signature__(cls) -> inspect.Signature:
        """The signature of the constructor, which configs are checked against."""
        if cls.__init__ is object.__init__:
            return inspect.Signature()
        _, *settings = inspect.signature(cls.__init__).parameters.values()
        return inspect.Signature(settings)
