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
WEBP = 16383  # pixels a side: the format has no larger pictures
MOST = 100_000_000  # pixels of a file: 300 MB once it is decoded
SMALL = 64  # pixels: up to this an image loses nothing where there is room


def read_tiles(file: Path, run: Path, shape: Sequence[int] | None) -> tuple[np.ndarray | None, list[float]]:
    """The images of a file of a run, and of a film the share of noise in each frame, where the file says it.

    None of a file that leads out of the run, is damaged, or has more than MOST pixels.
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
    """Pixels that a file's text says are left to words."""
    return int(said) if isinstance(said, str) and said.isascii() and said.isdecimal() and len(said) < 4 else 0


def encode(tiles: np.ndarray, side: int, quality: int | None) -> Picture:
    """One sheet of images (rows, columns, H, W, C) side by side, without gaps, as WebP in base64.

    Args:
        side: pixels of the longer side of an image, at most.
        quality: of WebP; None keeps every pixel of small images as it is.
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
    """Images averaged over squares of pixels, until the longer side is at most so long."""
    rows, columns, height, width, channels = tiles.shape
    by = -(-max(height, width) // side)
    if by <= 1 or min(height, width) < by:
        return tiles
    small = tiles[:, :, : height // by * by, : width // by * by]
    small = small.reshape(rows, columns, height // by, by, width // by, by, channels)
    return small.mean(axis=(3, 5)).round().astype(np.uint8)
