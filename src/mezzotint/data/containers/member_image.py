"""One image of a container as the decoder opens it."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Literal

from mezzotint.data.containers.base import Container


@dataclass(frozen=True, slots=True)
class MemberImage:
    """A stored image of a container.

    Args:
        container: the container.
        path: path of the image in it.
        shard, offset, size: its place, see `Member`.
    """

    container: Container
    path: str
    shard: int
    offset: int
    size: int

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        return io.BytesIO(self.container.read(self.shard, self.offset, self.size))

    def __str__(self) -> str:
        return f"{self.container.shards()[self.shard]}/{self.path}"


@dataclass(frozen=True, slots=True)
class Beginning:
    """The first bytes of a member, by which its format is identified; read only if its name does not tell."""

    name: str
    read: Callable[[], bytes]

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        return io.BytesIO(self.read())
