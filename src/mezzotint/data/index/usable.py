"""Images of an index that a dataset cannot use, and those that both of its splits hold."""

from typing import Protocol

import numpy as np

from mezzotint.data.image_files.crops import Crop
from mezzotint.data.image_files.decoder import PictureError, check_size, examine
from mezzotint.data.image_files.layout import note_copies
from mezzotint.data.image_files.resize import GIANT
from mezzotint.data.image_files.stored import StoredImage
from mezzotint.data.index.file import ImageIndex
from mezzotint.data.index.images import ImageTable

AT_ONCE = 1 << 16  # hashes in memory


class Wanted(Protocol):
    """The images that a dataset needs: their (C, H, W), and whether small ones are enlarged."""

    @property
    def shape(self) -> tuple[int, int, int]: ...
    @property
    def enlarge(self) -> bool: ...


def bad_images(
    table: ImageTable[StoredImage], index: ImageIndex, wanted: Wanted, crop: Crop, first: int = 0
) -> dict[int, PictureError]:
    """Return the errors of all images of an index that cannot be used, by their numbers in a table.

    Args:
        first: the number of the first image of the index in the table.
    """
    found = {first + row: PictureError(table.stored(first + row), *why) for row, *why in index.about["bad"]}
    for row in suspects(index, wanted):
        if (error := error_of(table, first + row, wanted, crop)) is not None:
            found[first + row] = error
    return {row: found[row] for row in sorted(found)}


def suspects(index: ImageIndex, wanted: Wanted) -> list[int]:
    """Return the numbers of images that are too small, or so large that memory may not suffice."""
    _, height, width = index.shape[:].T
    small = (height < wanted.shape[1]) | (width < wanted.shape[2]) if not wanted.enlarge else height < 0
    giant = height.astype(np.int64) * width > GIANT
    return np.flatnonzero((small | giant) & (height > 0)).tolist()


def error_of(table: ImageTable[StoredImage], row: int, wanted: Wanted, crop: Crop) -> PictureError | None:
    """Return the error of an image; None if it can be used."""
    file = table.stored(row)
    _, height, width = table.shapes(np.array([row]))[0].tolist()
    try:
        if not wanted.enlarge:
            check_size(file, (width, height), wanted.shape)
        examine(file, wanted.shape, wanted.enlarge, crop)
    except PictureError as error:
        return error
    return None


def report_identical(table: ImageTable[StoredImage], train: np.ndarray, test: np.ndarray) -> None:
    """Report test images that are also training images under another name."""
    if np.array_equal(train, test):
        return
    ours, theirs = first_bytes(table, train), first_bytes(table, test)
    same = np.flatnonzero(np.isin(theirs, ours))
    if len(same):
        row = int(same[0])
        twin = int(np.flatnonzero(ours == theirs[row])[0])
        note_copies(len(same), len(test), table.stored(int(test[row])), table.stored(int(train[twin])))


def first_bytes(table: ImageTable[StoredImage], rows: np.ndarray) -> np.ndarray:
    """Return the first 64 bits of the hashes of images, of which a part is in memory at a time."""
    parts = [table.hashes(part)[:, :8] for part in np.split(rows, range(AT_ONCE, len(rows), AT_ONCE))]
    return np.concatenate([np.ascontiguousarray(part).view(np.int64)[:, 0] for part in parts])
