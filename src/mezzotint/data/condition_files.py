"""Files of conditions beside image files: conditions.npz, conditions.safetensors, conditions.jsonl, captions.jsonl.

An archive holds `files`, the paths (N,) of the images relative to the folder, and an array (N, ...) for each condition.
A .jsonl file holds an object in each line, with the path of an image as "file" and a value for each condition:

    {"file": "cats/1.png", "text": "a sleeping cat", "age": 3.5}
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mezzotint.data.arrays.files import open_array
from mezzotint.data.arrays.stored import ChosenRows, MemoryRows, Rows
from mezzotint.data.image_files.class_folders import composed, few
from mezzotint.errors import DataError

FILES = ("conditions.npz", "conditions.safetensors", "conditions.jsonl", "captions.jsonl")
PATH, PATHS = "file", "files"
Column = Rows | list[Any]
Columns = tuple[list[str], dict[str, Column]]  # paths of images, and values by the name of the condition


@dataclass(frozen=True)
class ConditionFile:
    """The values of conditions, one row for each image.

    Args:
        file: the file that was read.
        rows: number of the row by the path of the image.
        columns: the values (N, ...) by the name of the condition.
    """

    file: Path
    rows: Mapping[str, int]
    columns: Mapping[str, Column]

    def values(self, names: Sequence[str], paths: Sequence[str]) -> dict[str, Column]:
        """Return the values of these conditions for the images of these paths, in their order.

        Raises:
            DataError: there is no such condition, or no value for an image.
        """
        missing = [name for name in names if name not in self.columns]
        if missing:
            raise DataError(
                f"{self.file} holds no condition {missing[0]!r}: it has {few(list(self.columns)) or 'none'}. Add it "
                "there, or leave it out of data.conditions."
            )
        bare = [path for path in paths if path not in self.rows]
        if bare:
            raise DataError(
                f"{self.file} has no row for {len(bare):,} of {len(paths):,} images, such as {bare[0]}: add one, or "
                "take the image out."
            )
        chosen = [self.rows[path] for path in paths]
        return {name: picked(self.columns[name], chosen) for name in names}


def picked(column: Column, rows: Sequence[int]) -> Column:
    return [column[row] for row in rows] if isinstance(column, list) else ChosenRows(column, np.array(rows))


def read_conditions(folder: Path) -> ConditionFile:
    """Read the first of `FILES` in a folder.

    Raises:
        DataError: there is none, or it is damaged.
    """
    file = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if file is None:
        raise DataError(f"{folder} has no {', '.join(FILES[:-1])} or {FILES[-1]} with the values of data.conditions.")
    named, columns = read_columns(file)
    paths = [composed(path) for path in named]
    if not paths:
        where = f"the array {PATHS!r}" if file.suffix != ".jsonl" else f"{PATH!r} in its lines"
        raise DataError(f"{file} names no images: {where} holds their paths, relative to {folder}.")
    if wrong := [name for name, column in columns.items() if len(column) != len(paths)]:
        raise DataError(
            f"{file}: the condition {wrong[0]!r} has {len(columns[wrong[0]]):,} values for {len(paths):,} images."
        )
    rows = {path: row for row, path in enumerate(paths)}
    if len(rows) < len(paths):
        twice = next(path for row, path in enumerate(paths) if rows[path] != row)
        raise DataError(f"{file} names {twice} twice: leave one of its rows out.")
    return ConditionFile(file, rows, columns)


def read_columns(file: Path) -> Columns:
    """Return the images' paths in an .npz, .safetensors or .jsonl file, none if it has no `files`, and its columns.

    Raises:
        DataError: it does not exist or is damaged.
    """
    if not file.is_file():
        raise DataError(f"{file} does not exist: give an .npz, .safetensors or .jsonl file of conditions.")
    try:
        return of_lines(file) if file.suffix == ".jsonl" else of_archive(file)
    except Exception as error:  # damaged archives can raise any exception
        raise DataError(f"{file} is no readable file of conditions ({error}): write it again.") from error


def of_archive(file: Path) -> Columns:
    """Return the arrays of an .npz or .safetensors file; in the latter, paths are lines of the metadata."""
    if file.suffix == ".npz":
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            names = [name for name in arrays.files if name != PATHS]
            paths = [str(path) for path in arrays.get(PATHS, ())]
        return paths, {name: open_array(file, name) for name in names}
    from safetensors import safe_open

    with safe_open(file, framework="np") as tensors:
        columns: dict[str, Column] = {name: MemoryRows(tensors.get_tensor(name)) for name in tensors.keys()}  # noqa: SIM118
        return (tensors.metadata() or {}).get(PATHS, "").splitlines(), columns


def of_lines(file: Path) -> Columns:
    """Return the paths and columns of a file with one JSON object in each line; all have the same names."""
    objects = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    for number, item in enumerate(objects, start=1):
        if not isinstance(item, dict):
            raise ValueError(f"line {number} is no object with a file and its values")
    names = {name: None for item in objects for name in item}
    for number, item in enumerate(objects, start=1):
        if missing := [name for name in names if name not in item]:
            raise ValueError(f"line {number} lacks {missing[0]!r}")
    columns: dict[str, Column] = {name: [item[name] for item in objects] for name in names if name != PATH}
    return [str(item[PATH]) for item in objects if PATH in item], columns
