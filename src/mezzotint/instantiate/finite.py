"""Numbers that are finite: what every part is built with, unless its own default is infinite."""

import abc
import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

IMMENSE = "it has more digits than any number here may have"
BOUNDS = ("0 or more", "above 0")  # of a setting that is natural, and of one that is positive


def infinite(value: Any) -> bool:
    """Whether a number is infinite or none, or a list holds one that is."""
    if isinstance(value, (list, tuple)):
        return any(map(infinite, value))
    return isinstance(value, float) and not math.isfinite(value)


def immense(value: Any) -> bool:
    """Whether an integer is one that no machine counts with, or a list holds one."""
    if isinstance(value, (list, tuple)):
        return any(map(immense, value))
    return isinstance(value, int) and value.bit_length() > 64


def unbounded(target: Callable, given: Mapping[str, Any]) -> list[str]:
    """The names of arguments that are infinite or no numbers; a default that is infinite says that infinity may be."""
    suspects = [name for name, value in given.items() if infinite(value)]
    if not suspects:
        return []
    parameters = inspect.signature(target).parameters
    defaults = {name: parameters[name].default for name in suspects if name in parameters}
    return [name for name in suspects if not (infinite(defaults.get(name)) and given[name] == given[name])]


class Finite(abc.ABCMeta):
    """Calls of classes whose numbers must be finite: ValueError where one is not.

    A class names its settings that must be above 0 in `positive`, and those that may be 0 too in `natural`.
    """

    if not TYPE_CHECKING:  # calls keep the types of their classes

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
        """Whether this package says what the settings are; another one's class may take whatever it likes."""
        return str(getattr(cls.__init__, "__module__", "")).startswith("mezzotint.")

    def declared(cls, bound: str) -> set[str]:
        """The settings that a class and its bases say to be "positive", or "natural": 0 or more."""
        said = [vars(kind).get(bound) for kind in cls.__mro__]
        return {name for names in said if isinstance(names, tuple) for name in names}  # a user's may mean another thing

    def out_of_range(cls, args: tuple[Any, ...], given: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
        """The settings that are below what the class declares, with their values."""
        positive, natural = cls.declared("positive"), cls.declared("natural")
        if not positive and not natural:
            return
        named = dict(zip(inspect.signature(cls).parameters, args, strict=False)) | dict(given)
        for name in (name for name in named if name in positive or name in natural):
            value = named[name]
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if number and (value < 0 or (value == 0 and name in positive)):
                yield name, value

    @property
    def __signature__(cls) -> inspect.Signature:
        """That of the settings, which is what configs are compared with."""
        if cls.__init__ is object.__init__:
            return inspect.Signature()
        _, *settings = inspect.signature(cls.__init__).parameters.values()
        return inspect.Signature(settings)
