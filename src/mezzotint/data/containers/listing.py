"""Containers to be indexed: their images in compact columns, in the order of their paths."""

import hashlib
import os
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from mezzotint.data.containers.base import Container, Member
from mezzotint.data.containers.member_image import MemberImage
from mezzotint.data.containers.member_names import ending, path_key
from mezzotint.data.image_files.formats import SUFFIXES, unread
from mezzotint.data.index.file import as_label, versions
from mezzotint.data.index.place import index_file
from mezzotint.data.index.source import Listing, Source
from mezzotint.errors import DataError

WIDE = 1 << 30  # bytes of names of equal width that are sorted by numpy
DEPTH = 3  # folders of a group: one that contains all others, a split, a class


@dataclass(eq=False)
class ContainerListing(Listing):
    """The images of a container, to be read for an index.

    Args:
        container: the container.
        names, captions: in UTF-8, without separators.
        ends, caption_ends: of each name and caption.
        sizes, shard, offset, label: of each image; NO_LABEL without a label.
        group: number in `groups` of the first three folders of its name.
        groups: these folders, such as photos/train/cats; empty without.
        unread: unsupported images with reasons.
    """

    container: Container
    names: bytearray = field(default_factory=bytearray)
    captions: bytearray = field(default_factory=bytearray)
    ends: array = field(default_factory=lambda: array("q"))
    caption_ends: array = field(default_factory=lambda: array("q"))
    sizes: array = field(default_factory=lambda: array("q"))
    shard: array = field(default_factory=lambda: array("i"))
    offset: array = field(default_factory=lambda: array("q"))
    label: array = field(default_factory=lambda: array("q"))
    group: array = field(default_factory=lambda: array("i"))
    groups: dict[str, int] = field(default_factory=dict)
    unread: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def of(cls, container: Container) -> "ContainerListing":
        """List a container. Raises DataError: it is damaged, holds no image, or two of one name."""
        made, versions = cls(container), states(container)
        for member in container.members():
            made.add(member)
        if versions != states(container):
            raise DataError(f"{container.shards()[0].parent} changed while it was listed: try again.")
        if not len(made):
            raise nothing_in(container, made.unread)
        made.check_names()
        return made

    def __len__(self) -> int:
        return len(self.ends)

    def name(self, number: int) -> bytes:
        """Return a name, by the number in which it was stored."""
        return bytes(self.names[self.ends[number - 1] if number else 0 : self.ends[number]])

    def stored(self, row: int) -> MemberImage:
        number = int(self.order[row])
        return self.image(number)

    def image(self, number: int) -> MemberImage:
        place = self.shard[number], self.offset[number], self.sizes[number]
        return MemberImage(self.container, self.name(number).decode(), *place)

    def versions(self, first: int, stop: int) -> np.ndarray:
        times = [time for _, _, time in states(self.container)]
        rows = self.order[first:stop].tolist()
        names = [b"%b\0%d" % (self.name(row), self.offset[row]) for row in rows]
        return versions(names, [self.sizes[row] for row in rows], [times[self.shard[row]] for row in rows])

    def columns(self) -> Mapping[str, np.ndarray]:
        order = self.order
        names, ends = reordered(self.names, self.ends, order)
        captions, caption_ends = reordered(self.captions, self.caption_ends, order)
        plain = ("sizes", "shard", "offset", "label", "group")
        return {
            **{name: np.array(vars(self)[name])[order] for name in plain},
            **{"names": names, "ends": ends, "captions": captions, "caption_ends": caption_ends},
        }

    def about(self) -> Mapping[str, Any]:
        return {
            "container": description(self.container),
            "shards": states(self.container),
            "groups": list(self.groups),
            "unread": [list(item) for item in self.unread],
        }

    @cached_property
    def order(self) -> np.ndarray:
        """The numbers of the images in the order of their paths."""
        keys = [path_key(self.name(number).decode()).encode() for number in range(len(self))]
        if all(first <= second for first, second in pairwise(keys)):
            return np.arange(len(keys))
        if max(map(len, keys)) * len(keys) > WIDE:
            return np.array(sorted(range(len(keys)), key=keys.__getitem__))
        return np.argsort(np.array(keys, bytes), kind="stable")

    def add(self, member: Member) -> None:
        """Add an image, or the reason for which it is unsupported."""
        if ending(member.name) not in SUFFIXES:
            image = MemberImage(self.container, member.name, member.shard, member.offset, member.size)
            if reason := unread(image):
                self.unread.append((member.name, reason))
                return
        self.names += member.name.encode()
        self.captions += member.caption.encode()
        self.ends.append(len(self.names))
        self.caption_ends.append(len(self.captions))
        self.sizes.append(member.size)
        self.shard.append(member.shard)
        self.offset.append(member.offset)
        self.label.append(as_label(member.label))
        folder = "/".join(member.name.split("/")[:-1][:DEPTH])
        self.group.append(self.groups.setdefault(folder, len(self.groups)))

    def check_names(self) -> None:
        """Raise DataError for two images of one name."""
        order = self.order
        for first, second in pairwise(order.tolist()):
            if self.name(first) == self.name(second):
                other = self.container.shards()[self.shard[second]]
                where = f" and {other}" if self.shard[first] != self.shard[second] else ""
                raise DataError(
                    f"{self.container.shards()[self.shard[first]]}{where} hold two images named "
                    f"{self.name(first).decode()}: rename or remove one of them."
                )


def reordered(joined: bytearray, ends: array, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return joined texts in another order, and where each ends."""
    stops = np.array(ends, np.int64)
    starts = np.concatenate([[0], stops[:-1]])
    if not np.array_equal(order, np.arange(len(order))):
        places = zip(starts[order].tolist(), stops[order].tolist(), strict=True)
        joined = bytearray().join(joined[start:stop] for start, stop in places)
    return np.frombuffer(joined, np.uint8), np.cumsum((stops - starts)[order])


def states(container: Container) -> list[list[Any]]:
    """Return path, size and modification time of the files of a container."""
    found = []
    for path in container.shards():
        try:
            about = os.stat(path)
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}): restore it.") from error
        found.append([str(path), about.st_size, about.st_mtime_ns])
    return found


def description(container: Container) -> str:
    """Return a hash of the kind of a container and its options."""
    return hashlib.sha256(repr(container).encode()).hexdigest()


def nothing_in(container: Container, unread: list[tuple[str, str]]) -> DataError:
    first = container.shards()[0]
    but = f", but {len(unread):,} that are not read, such as {unread[0][0]} ({unread[0][1]})" if unread else ""
    return DataError(f"{first} has no readable pictures{but}. Give data.root= of files with images.")


@dataclass(frozen=True)
class ContainerSource(Source):
    """A container; it counts as unchanged while its files have the same sizes and times."""

    container: Container

    @property
    def file(self) -> Path:
        return index_file(*self.container.shards())

    @property
    def name(self) -> str:
        paths = self.container.shards()
        return str(paths[0]) if len(paths) == 1 else f"{len(paths)} files in {os.path.commonpath(paths)}"

    def listing(self) -> ContainerListing:
        return ContainerListing.of(self.container)

    def unchanged(self, about: Mapping[str, Any]) -> bool:
        return about.get("container") == description(self.container) and about["shards"] == states(self.container)
