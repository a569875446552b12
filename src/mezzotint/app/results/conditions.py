"""The conditions of drawn samples: those of the held-out examples, those of `condition=`, or those of a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mezzotint.data.condition_files import read_columns
from mezzotint.data.conditions import Column, checked, kinds_of, null_values, numbers_of, texts_of
from mezzotint.errors import ConfigError, DataError
from mezzotint.generation import ConditionPlan, GivenConditions, held_out_conditions
from mezzotint.networks import Condition
from mezzotint.plain_data import as_list, as_text


def planned(asked: Any, dataset: Any) -> ConditionPlan | None:
    """Return the conditions of samples, or None for a dataset without conditions.

    Args:
        asked: what `condition=` says: a value or several by name of the condition, or a file of them; None takes the
            held-out examples.

    Raises:
        ConfigError: the data have no such condition, or this is no value of it.
    """
    kinds = kinds_of(dataset)
    if asked is None:
        return held_out_conditions(dataset)
    if not kinds:
        raise ConfigError(f"condition={asked}: this run has no conditions beside classes, which label= gives")
    if file := as_text(asked):
        return of_file(Path(file).expanduser(), kinds, f"of {file}")
    if unknown := [name for name in asked if name not in kinds]:
        instead = "; label= gives the class" if unknown[0] == "label" else ""
        raise ConfigError(f"condition={unknown[0]}: this run has no such condition; it has {', '.join(kinds)}{instead}")
    null = null_values(kinds, 1)
    written = {
        name: texts
        for name, value in asked.items()
        if (texts := texts_of(value if isinstance(value, list) else [value]))
    }
    given = {name: rows(name, kinds[name], value) for name, value in asked.items()}
    return GivenConditions(null | given, written=written)


def rows(name: str, kind: Condition, value: Any) -> Tensor:
    """Return one value, or the values of a list, (R, ...); null is the null. Raises ConfigError: they are none."""
    if value is None:
        return kind.null(1)
    try:
        return kind.encode(value)[None]
    except ValueError as error:
        items = as_list(value)
        if not items or (kind.shape and all(isinstance(item, int | float) for item in items)):
            raise ConfigError(f"condition.{name}: {error}") from error
    try:
        return torch.stack([kind.encode(item) for item in value])
    except ValueError as error:
        raise ConfigError(f"condition.{name}: {error}") from error


def of_file(file: Path, kinds: Mapping[str, Condition], about: str) -> GivenConditions:
    """Return the values of a file with an array or a column for each condition; one that it leaves out has its null."""
    try:
        _, columns = read_columns(file)
        found = [name for name in kinds if name in columns]
        if not found:
            raise DataError(f"{file} holds none of {', '.join(kinds)}: it has {', '.join(columns) or 'nothing'}.")
        if len({len(columns[name]) for name in found}) > 1:
            counts = ", ".join(f"{len(columns[name]):,} of {name}" for name in found)
            raise DataError(f"its conditions have different numbers of rows: {counts}.")
        values = {name: values_of(str(file), name, kinds[name], columns[name]) for name in found}
        written = {name: texts for name in found if (texts := texts_of(columns[name]))}
        return GivenConditions(null_values(kinds, 1) | values, about, written)
    except DataError as error:
        raise ConfigError(f"condition={file}: {error}") from error


def values_of(where: str, name: str, kind: Condition, column: Column) -> Tensor:
    """Return the values (R, ...) of a column. Raises DataError: one is no value of this kind."""
    found = checked(where, name, kind, column, len(column))
    return numbers_of(kind, found.rows(np.arange(len(found))))
