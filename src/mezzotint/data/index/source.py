"""Sources of images with an index, which one process at a time makes, by itself where a command needs it."""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mezzotint.data.image_files.decoder import content
from mezzotint.data.image_files.stored import StoredImage
from mezzotint.data.index.file import ImageIndex, opened
from mezzotint.data.index.preparation import Counts, prepare
from mezzotint.data.locks import locked
from mezzotint.errors import DataError
from mezzotint.progress import bar


class Listing(ABC):
    """The images of a source in their order, none of them read yet."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def stored(self, row: int) -> StoredImage:
        """Return an image that can be opened."""

    def read(self, row: int) -> bytes:
        """Return the stored bytes of an image. Raises PictureError: they cannot be read."""
        return content(self.stored(row))

    @abstractmethod
    def versions(self, first: int, stop: int) -> np.ndarray:
        """Return a hash of the version of each image of a range, int64."""

    @abstractmethod
    def columns(self) -> Mapping[str, np.ndarray]:
        """Return the columns of the index that the listing knows, see `ImageIndex`."""

    @abstractmethod
    def about(self) -> Mapping[str, Any]:
        """Return what belongs to all images, as JSON can hold it."""


class Source(ABC):
    """A set of stored images, such as a folder or a container."""

    @property
    @abstractmethod
    def file(self) -> Path:
        """The file of its index."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Its place, for messages."""

    @abstractmethod
    def listing(self) -> Listing:
        """List the images. Raises DataError: there are none, or they cannot be listed."""

    @abstractmethod
    def unchanged(self, about: Mapping[str, Any]) -> bool:
        """Return whether an index still holds, by what its listing wrote."""


def current(source: Source) -> ImageIndex | None:
    """Return the index of a source if there is one and the source has not changed since."""
    index = opened(source.file)
    return index if index is not None and source.unchanged(index.about) else None


def indexed(source: Source) -> ImageIndex:
    """Return the index of a source, made now unless it is current; other processes wait for the one that makes it.

    Raises:
        DataError: the source holds no image, or the cache cannot be written.
    """
    if (found := current(source)) is not None:
        return found
    with writing(source.file):
        if (found := current(source)) is None:
            made(source)
            found = opened(source.file)
    if found is None:
        raise DataError(f"{source.file} cannot be read: free some space, or give another paths.cache=DIR.")
    return found


def prepare_source(source: Source, again: bool = False) -> Counts:
    """Make the index of a source, or bring it up to date.

    Args:
        again: read all images, also those whose size and time did not change.

    Raises:
        DataError: the source holds no image, or the cache cannot be written.
    """
    with writing(source.file):
        return made(source, again)


def made(source: Source, again: bool = False) -> Counts:
    listing = source.listing()
    with bar(f"preparing {source.name}", len(listing)) as advance:
        return prepare(source.file, listing, again, advance)


@contextmanager
def writing(file: Path) -> Iterator[None]:
    """Hold the lock of an index file, without what a killed process left of it. Raises DataError: as `locked`."""
    with locked(file.with_suffix(".lock"), "paths.cache=DIR"):
        for left in file.parent.glob(f".{file.name}.*.part"):
            shutil.rmtree(left, ignore_errors=True)
        yield
