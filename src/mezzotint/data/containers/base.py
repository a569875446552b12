"""The interface of containers: a listing of the stored images, and their bytes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Member:
    """One stored image, as the listing of its container gives it.

    Args:
        name: path in the container with forward slashes, unique, in NFC.
        shard: number of the file that holds it, in the order of `Container.shards`.
        offset: of its bytes in that file, or its row.
        size: stored bytes.
        label: its class; None if the container has no labels.
        caption: its text; empty without one.
    """

    name: str
    shard: int
    offset: int
    size: int
    label: int | None = None
    caption: str = ""


class Container(Protocol):
    """Files that hold encoded images, such as a folder, zip archive or tar shards; picklable.

    Files are opened on first use, once in each process, so that a forked or spawned worker never shares a position in
    a file with its parent.
    """

    def shards(self) -> tuple[Path, ...]:
        """Return the files whose sizes and modification times identify the version of the content."""
        ...

    def members(self) -> Iterator[Member]:
        """Yield the images, in the order in which they are stored; read once, when the index is made.

        Raises:
            DataError: the container is damaged, or gives two images the same name.
        """
        ...

    def read(self, shard: int, offset: int, size: int) -> bytes:
        """Return the stored bytes of an image.

        Raises:
            DataError: they cannot be read, or have changed.
        """
        ...
