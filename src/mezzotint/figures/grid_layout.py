"""The layout of an image grid, shared by the code that draws it and the code that cuts it apart. Needs no torch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

FOOT = 12  # pixels below an image for its label
SEEN = 48  # pixels: smaller images are enlarged to at least this
HEIGHT, WIDTH = 64, (64, 256)  # pixels of the picture of a series; its width is the length within these bounds
COLOURS = 4  # channels of an image file, at most
MOST = 4  # channels that are shown side by side, and slices, where more do not fit into WIDTH


def enlargement(height: int, width: int) -> int:
    """Return the integer factor that enlarges images of this size to a visible one."""
    return max(1, -(-SEEN // min(height, width)))


def gap(height: int) -> int:
    """Return the pixels between images of this height in the picture."""
    return max(2, height // 16)


def cut(picture: "np.ndarray", height: int, width: int, foot: int = 0) -> "np.ndarray | None":
    """Return the images of a grid at their original size, (rows, columns, height, width, C).

    Args:
        picture: (H, W, C), a grid of images of this height and width.
        foot: pixels below each image for its label.

    Returns:
        None if the picture's size does not fit such a grid.
    """
    factor = enlargement(height, width)
    between = gap(height * factor)
    pitches = height * factor + foot + between, width * factor + between
    rows, columns = ((side - between) // pitch for side, pitch in zip(picture.shape, pitches, strict=False))
    if picture.shape[:2] != (between + rows * pitches[0], between + columns * pitches[1]) or not rows * columns:
        return None
    tiles = picture[between:, between:].reshape(rows, pitches[0], columns, pitches[1], -1)
    return tiles[:, : height * factor : factor, :, : width * factor : factor].swapaxes(1, 2)


def slice_count(depth: int, width: int) -> int:
    """Return how many of `depth` slices of this width are shown side by side."""
    return min(depth, max(MOST, WIDTH[1] // width))


def picture_shape(stored: Sequence[int]) -> tuple[int, int, int]:
    """Return the shape of the picture of an example (C, *size) that is no image."""
    channels, *size = stored
    if len(size) == 1:
        return 3, HEIGHT, min(max(size[0], WIDTH[0]), WIDTH[1])
    if len(size) == 2:
        return 1, size[0], min(channels, MOST) * size[1]
    count = slice_count(size[0], size[2])
    width = count * (size[2] + 1) - 1  # a pixel between slices
    return (3, size[1], width) if channels == 3 else (1, min(channels, MOST) * size[1], width)
