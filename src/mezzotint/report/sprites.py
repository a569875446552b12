"""Pictures of many images taken apart, and images put together again as sheets that a page can hold."""

import base64
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mezzotint.figures.grid_layout import cut
from mezzotint.reading import opened
from mezzotint.report.curves import number

Picture = dict[str, Any]
WEBP = 16383  # maximum side of a WebP image in pixels
MOST = 100_000_000  # maximum pixels of a file: 300 MB decoded
SMALL = 64  # maximum side of losslessly stored images in pixels


def read_tiles(file: Path, run: Path, shape: Sequence[int] | None) -> tuple[np.ndarray | None, list[float]]:
    """Return the images of a file, and for a trajectory the fraction of noise in each frame if the file records it.

    The images are None for a file that links outside the run, is damaged, or has more than MOST pixels.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings(), opened(file, run) as source:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(source, formats=("PNG", "GIF")) as found:
                if found.width * found.height > MOST:
                    return None, []
                picture = np.asarray(found.convert("RGB"))
                noise = [number(float(word)) or 0.0 for word in str(found.info.get("noise", "")).split()]
                head, foot = (margin(found.info.get(key)) for key in ("head", "foot"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, MemoryError):
        return None, []
    tiles = cut(picture[head:], *shape[1:], foot) if shape and len(shape) == 3 else None
    return (picture[None, None] if tiles is None else tiles), noise


def margin(said: Any) -> int:
    """Return the height of a label margin in pixels, from the text metadata of a PNG file."""
    digits = str(said)
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 4 else 0


def encode(tiles: np.ndarray, side: int, quality: int | None) -> Picture:
    """Encode a sheet of images (rows, columns, H, W, C), without gaps, as WebP in base64.

    Args:
        side: maximum pixels of the longer side of an image.
        quality: of WebP; None stores small images losslessly.
    """
    from PIL import Image

    tiles = shrink(tiles, side)
    height, width = tiles.shape[2:4]
    tiles = tiles[: max(1, WEBP // height), : max(1, WEBP // width)]
    rows, columns = tiles.shape[:2]
    sheet = tiles.swapaxes(1, 2).reshape(rows * height, columns * width, -1)[:WEBP, :WEBP]
    out = io.BytesIO()
    exact = quality is None and max(height, width) <= SMALL
    how = {"lossless": True, "quality": 50} if exact else {"quality": quality or 90}
    Image.fromarray(np.ascontiguousarray(sheet)).save(out, "WEBP", **how)
    blank = (tiles == 255).all(axis=(2, 3, 4)).reshape(-1)
    count = rows * columns - int(blank[::-1].argmin() if not blank.all() else 0)
    return {
        "src": base64.b64encode(out.getvalue()).decode(),
        "rows": rows,
        "columns": columns,
        "height": height,
        "width": width,
        "count": count,
    }


def shrink(tiles: np.ndarray, side: int) -> np.ndarray:
    """Downsample images by averaging square blocks until the longer side is at most `side`."""
    rows, columns, height, width, channels = tiles.shape
    by = -(-max(height, width) // side)
    if by <= 1 or min(height, width) < by:
        return tiles
    small = tiles[:, :, : height // by * by, : width // by * by]
    small = small.reshape(rows, columns, height // by, by, width // by, by, channels)
    return small.mean(axis=(3, 5)).round().astype(np.uint8)
