"""One image file as an array: upright, on white, cut to the middle, resized with antialiasing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from mezzotint.errors import DataError

RECIPE = b"upright, on white, centre, bicubic"  # part of a digest: whoever changes what follows changes it too
GREY = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B")  # Pillow's modes of images without colour
TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height
ORIENTATION = 0x0112


def decode(file: Path, shape: tuple[int, int, int], enlarge: bool = False) -> np.ndarray:
    """uint8 (C, H, W), grey for one channel and RGB for three. An image that has the size already is left as it is.

    Raises:
        DataError: where the file is damaged, no image, or smaller than it is to be.
    """
    channels, height, width = shape
    with opened(file) as stored:
        ImageOps.exif_transpose(stored, in_place=True)
        if not enlarge:
            check_size(file, stored.size, shape)
        image = in_mode(plain(stored), "L" if channels == 1 else "RGB")
        image = image.resize((width, height), Image.Resampling.BICUBIC, box=middle(image.size, (width, height)))
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def header(file: Path) -> tuple[int, int, int]:
    """(channels, height, width) of an image file as it is decoded. Raises DataError where it is none."""
    with opened(file) as image:
        width, height = upright(image)
        return 1 if image.mode in GREY else 3, height, width


def check_header(file: Path, shape: tuple[int, int, int], enlarge: bool) -> None:
    """Raises DataError where a file does not begin like an image, or one that is too small."""
    with opened(file) as image:
        if not enlarge:
            turning_matters = fits(image.size, shape) != fits(image.size[::-1], shape)
            check_size(file, upright(image) if turning_matters else image.size, shape)


@contextmanager
def opened(file: Path) -> Iterator[Image.Image]:
    """An image file; whatever its decoder makes of it is one DataError."""
    try:
        with Image.open(file) as image:
            yield image
    except DataError:
        raise
    except Exception as error:  # decoders of damaged files fail in every way there is
        reason = "it is no image" if isinstance(error, Image.UnidentifiedImageError) else error
        raise DataError(f"{file} cannot be decoded ({reason}): mend it or take it out of the folder.") from error


def upright(image: Image.Image) -> tuple[int, int]:
    """(width, height) as it is looked at. Of a PNG this may have to be read behind all its pixels."""
    width, height = image.size
    return (height, width) if image.getexif().get(ORIENTATION) in TURNED else (width, height)


def fits(size: tuple[int, int], shape: tuple[int, int, int]) -> bool:
    """Whether an image of this (width, height) becomes one of a shape without being enlarged."""
    return size[0] >= shape[2] and size[1] >= shape[1]


def check_size(file: Path, size: tuple[int, int], shape: tuple[int, int, int]) -> None:
    """Refuse an image of this (width, height) that would have to be enlarged: what is blurred is learnt as blurred."""
    channels, height, width = shape
    if not fits(size, shape):
        left, top, right, bottom = middle(size, (width, height))
        fitting = f"[{channels},{halvable(bottom - top)},{halvable(right - left)}]"
        raise DataError(
            f"{file} is {size[1]} x {size[0]} and shape={list(shape)} asks for {height} x {width} (height x width): "
            f"data.shape={fitting} fits it, or data.enlarge=true enlarges it."
        )


def halvable(side: float) -> int:
    """The next lower side that networks of several levels take: a multiple of 4, from 64 on of 8."""
    step = 8 if side >= 64 else 4 if side >= 8 else 1
    return max(1, int(side) // step * step)


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
