"""Parquet and Arrow files as the library `datasets` writes them: a column of images with their bytes, one of labels."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mezzotint.data.containers.base import Member
from mezzotint.data.containers.member_names import member_name
from mezzotint.data.containers.tables import Tables
from mezzotint.data.image_files.class_folders import few
from mezzotint.data.image_files.image_set import note_once
from mezzotint.errors import DataError
from mezzotint.plain_data import as_dict, as_list, as_text, lookup

if TYPE_CHECKING:
    import pyarrow as pa

LABELS = ("label", "labels", "class", "fine_label")  # usual names, where the features of `datasets` name none
SLOW = 1 << 24  # bytes of a group of rows
CAPTIONS = ("text", "caption", "prompt")


@dataclass(frozen=True)
class ParquetFiles:
    """The images in the rows of parquet or Arrow files.

    Args:
        paths: the files.
        prefixes: a folder before the names in each of them, such as train/, or nothing.
        image: the column of images; None finds it.
        label: the column of labels; None finds it, if there is one.
        caption: the column of captions; None finds it, if there is one.
    """

    paths: tuple[Path, ...]
    prefixes: tuple[str, ...]
    image: str | None = None
    label: str | None = None
    caption: str | None = None
    tables: Tables = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tables", Tables(self.paths))

    def shards(self) -> tuple[Path, ...]:
        return self.paths

    def read(self, shard: int, offset: int, size: int) -> bytes:
        found = self.tables.cell(shard, offset, self.columns.image, contents)
        if found is None or len(found) != size:
            raise DataError(f"{self.paths[shard]} has changed: row {offset:,} is another image now.")
        return found

    def members(self) -> Iterator[Member]:
        for shard in range(len(self.paths)):
            yield from self._members(shard)

    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes by the features of `datasets`; empty without."""
        names = lookup(features(self.tables[0].schema), self.columns.label or "", "names")
        return tuple(map(str, as_list(names)))

    @cached_property
    def columns(self) -> "Columns":
        """The columns that are read. Raises DataError: there is none of images, or a chosen one does not exist."""
        chosen = {"image": self.image, "label": self.label, "caption": self.caption}
        return columns_of(self.paths[0], self.tables[0].schema, chosen)

    def _members(self, shard: int) -> Iterator[Member]:
        columns, path = self.columns, self.paths[shard]
        wanted = [name for name in (columns.image, columns.label, columns.caption) if name]
        if missing := [name for name in wanted if name not in self.tables[shard].schema.names]:
            raise DataError(
                f"{path} has no column {missing[0]!r}, unlike {self.paths[0]}: give data.root= of files of one table."
            )
        if self.tables[shard].largest > SLOW:
            note_once(
                f"data: {path} has groups of rows of up to {self.tables[shard].largest >> 20:,} MB, of which one is "
                "read for each image in random order. Smaller ones, Arrow files or tar shards train faster."
            )
        for first, table in self.tables.groups(shard, wanted):
            count = len(table)
            names = paths_in(table.column(columns.image)) if self._named else [""] * count
            labels = table.column(columns.label).to_pylist() if columns.label else [None] * count
            captions = table.column(columns.caption).to_pylist() if columns.caption else [""] * count
            sizes = sizes_in(table.column(columns.image), path, first)
            for row, (name, size, label, caption) in enumerate(zip(names, sizes, labels, captions, strict=True), first):
                said = member_name(name, path) if self._named else f"{path.stem}-{row:09d}"
                yield Member(self.prefixes[shard] + said, shard, row, size, label, as_text(caption))

    @cached_property
    def _named(self) -> bool:
        """True if every row has a path of its own, which then names it."""
        found, rows = set(), 0
        for shard, prefix in enumerate(self.prefixes):
            for _, table in self.tables.groups(shard, [self.columns.path]):
                names = paths_in(table.column(0))
                if not all(names):
                    return False
                found.update(prefix + name for name in names)
                rows += len(names)
        return len(found) == rows


@dataclass(frozen=True)
class Columns:
    """Names of the columns of images, labels and captions; the last two may be missing.

    Args:
        path: the part of the column of images that holds their paths.
    """

    image: str
    path: str
    label: str | None
    caption: str | None


def features(schema: "pa.Schema") -> dict[str, dict]:
    """Return what `datasets` writes of the columns, by their names; empty if it did not write them."""
    try:
        written = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    except ValueError:
        return {}
    return {name: as_dict(about) for name, about in as_dict(lookup(written, "info", "features")).items()}


def columns_of(path: Path, schema: "pa.Schema", chosen: Mapping[str, str | None]) -> Columns:
    """Return the columns to read: the chosen ones, or those that are images, labels and captions by their kind.

    Raises:
        DataError: a chosen column does not exist, or there is none of images.
    """
    for argument, name in chosen.items():
        if name is not None and name not in schema.names:
            raise DataError(
                f"{path} has no column {name!r} for data.{argument}=: its columns are {few(schema.names, 20)}."
            )
    types, about = dict(zip(schema.names, schema.types, strict=True)), features(schema)
    annotated = [name for name in types if about.get(name, {}).get("_type") == "Image"]
    image = chosen["image"] or next((name for name in (*annotated, *types) if holds_bytes(types[name])), None)
    if image is None or not holds_bytes(types[image]):
        said = ", ".join(f"{name} ({kind})" for name, kind in types.items()) or "none"
        raise DataError(
            f"{path} has no column of images with their bytes: its columns are {said[:300]}. Write one with the type "
            "Image of the library `datasets`."
        )
    label = chosen["label"] or next((name for name in types if about.get(name, {}).get("_type") == "ClassLabel"), None)
    label = label or next((name for name in LABELS if "int" in str(types.get(name))), None)
    if label is not None and "int" not in str(types[label]):
        raise DataError(
            f"{path}: the column {label!r} holds {types[label]}, not the numbers of classes: encode it first."
        )
    caption = chosen["caption"] or next((name for name in CAPTIONS if "string" in str(types.get(name))), None)
    return Columns(image, f"{image}.path" if nested(types[image]) else image, label, caption)


def holds_bytes(kind: "pa.DataType") -> bool:
    """Return whether a column holds bytes, or structs with bytes."""
    binary = ("binary", "large_binary")
    inner = [str(kind.field(i).type) for i in range(kind.num_fields) if kind.field(i).name == "bytes"]
    return str(kind) in binary or any(name in binary for name in inner)


def nested(kind: "pa.DataType") -> bool:
    return kind.num_fields > 0


def contents(images: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """Return the stored bytes of a column of images."""
    return child(images, "bytes") if nested(images.type) else images


def child(images: "pa.ChunkedArray", name: str) -> "pa.ChunkedArray":
    import pyarrow as pa

    number = next((i for i in range(images.type.num_fields) if images.type.field(i).name == name), None)
    if number is None:
        return pa.chunked_array([pa.nulls(len(images), pa.string())])
    kind = images.type.field(number).type
    return pa.chunked_array([chunk.flatten()[number] for chunk in images.chunks], kind)


def paths_in(images: "pa.ChunkedArray") -> list[str]:
    """Return the paths of images, empty for those without."""
    found = child(images, "path").to_pylist() if nested(images.type) else [None] * len(images)
    return [as_text(name) for name in found]


def sizes_in(images: "pa.ChunkedArray", path: Path, first: int) -> list[int]:
    """Return the number of bytes of each image. Raises DataError: an image is not in the file."""
    from pyarrow.compute import call_function

    sizes = call_function("binary_length", [contents(images)]).to_pylist()
    if None in sizes:
        row = sizes.index(None)
        raise DataError(
            f"{path} has no image in row {first + row:,}, only {paths_in(images)[row] or 'nothing'}: write the bytes "
            "into the table, as `datasets` does when it saves to parquet, or remove the row."
        )
    return sizes
