"""One image file as an array: upright, on white, cut to the middle, resized with antialiasing."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from mezzotint.errors import DataError

RECIPE = b"upright, on white, centre, bicubic"  # part of a digest: whoever changes what follows changes it too


def decode(file: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """uint8 (C, H, W), grey for one channel and RGB for three. An image that has the size already is left as it is.

    Raises:
        DataError: where the file is damaged or no image.
    """
    channels, height, width = shape
    try:
        with Image.open(file) as opened:
            ImageOps.exif_transpose(opened, in_place=True)
            image = in_mode(plain(opened), "L" if channels == 1 else "RGB")
            image = image.resize((width, height), Image.Resampling.BICUBIC, box=middle(image.size, (width, height)))
    except Exception as error:  # decoders of damaged files fail in every way there is
        raise damaged(file, error) from error
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def check_header(file: Path) -> None:
    """Raises DataError where the file does not begin like an image."""
    try:
        with Image.open(file):
            pass
    except Exception as error:
        raise damaged(file, error) from error


def damaged(file: Path, error: Exception) -> DataError:
    reason = "it is no image" if isinstance(error, Image.UnidentifiedImageError) else error
    return DataError(f"{file} cannot be decoded ({reason}): mend it or take it out of the folder.")


def plain(image: Image.Image) -> Image.Image:
    """8 bits a channel and no transparency: 16-bit grey is scaled down, what shines through is white."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"its pixels are {image.mode}, neither 8 nor 16 bits")
    if not image.has_transparency_data:
        return image
    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    white.alpha_composite(layer)
    return white.convert("RGB")


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    """Converted, and not copied where it need not be."""
    return image if image.mode == mode else image.convert(mode)


def middle(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest box in the middle of an image of this (width, height) with the proportions of `wanted`."""
    scale = min(size[0] / wanted[0], size[1] / wanted[1])
    width, height = wanted[0] * scale, wanted[1] * scale
    left, top = (size[0] - width) / 2, (size[1] - height) / 2
    return left, top, left + width, top + height
