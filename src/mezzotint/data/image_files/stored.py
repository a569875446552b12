"""A stored image, wherever it is: a file, or a member of a container."""

from typing import BinaryIO, Literal, Protocol


class StoredImage(Protocol):
    """An encoded image: a `Path`, or another object with a name that opens as one does.

    `str` of it is the place that messages name, such as photos/cats/1.png or photos.zip/cats/1.png.
    """

    @property
    def name(self) -> str:
        """The last part of its path."""
        ...

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        """Open the stored bytes. Raises OSError: they cannot be read."""
        ...
