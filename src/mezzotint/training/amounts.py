"""Amounts that shrink with a small budget: several alternatives, of which the least counts. Imports nothing."""

from collections.abc import Sequence


def least(amounts: Sequence[float], whole: float) -> int:
    """The least of several amounts, at least 1; one below 1 is a share of the whole, as in [6400, 0.1]."""
    return max(1, round(min(amount * whole if amount < 1 else amount for amount in amounts)))


def amount_of(value: float | Sequence[float], whole: float) -> float:
    """One amount, or the least of several; below 1 it is a share of the whole."""
    if isinstance(value, Sequence):
        return least(value, whole)
    return value * whole if value < 1 else value


def several(value: float | Sequence[float]) -> tuple[float, ...]:
    """Return one value, or a sequence of them, as a tuple."""
    return tuple(value) if isinstance(value, Sequence) else (value,)


def check(name: str, amounts: Sequence[float]) -> None:
    """Refuse alternatives of which none can be chosen. Raises ValueError."""
    if not amounts or not all(amount > 0 for amount in amounts):
        raise ValueError(f"{name}={list(amounts)}: give amounts above 0, of which the least counts, such as [50, 0.1]")


def check_steps(every: int | tuple[float, ...]) -> None:
    """Refuse what are no steps from one time to the next. Raises ValueError."""
    if isinstance(every, tuple):
        check("every", every)
    elif every < 1:
        raise ValueError(f"every={every}: give 1 or more steps")
