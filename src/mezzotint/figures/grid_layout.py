"""Where images lie in a picture of many: how it is put together, and how it is taken apart again. Knows no torch."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

FOOT = 12  # pixels below an image for what is written there
SEEN = 48  # pixels: smaller images are enlarged to at least this


def enlargement(height: int, width: int) -> int:
    """The whole number by which images of this size are enlarged until the shorter side can be seen."""
    return max(1, -(-SEEN // min(height, width)))


def gap(height: int) -> int:
    """Pixels between images that are this high in the picture."""
    return max(2, height // 16)


def cut(picture: "np.ndarray", height: int, width: int, foot: int = 0) -> "np.ndarray | None":
    """The images in a picture of many, (rows, columns, height, width, C), as small as they were drawn.

    Args:
        picture: (H, W, C), of images that had this height and width.
        foot: pixels below each image for what is written there.

    Returns:
        None where the picture's size says that it holds no such images.
    """
    factor = enlargement(height, width)
    between = gap(height * factor)
    pitches = height * factor + foot + between, width * factor + between
    rows, columns = ((side - between) // pitch for side, pitch in zip(picture.shape, pitches, strict=False))
    if picture.shape[:2] != (between + rows * pitches[0], between + columns * pitches[1]) or not rows * columns:
        return None
    tiles = picture[between:, between:].reshape(rows, pitches[0], columns, pitches[1], -1)
    return tiles[:, : height * factor : factor, :, : width * factor : factor].swapaxes(1, 2)
