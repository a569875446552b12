"""Processing of an opened image in strips: EXIF orientation, white background, centre crop and resize."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from mezzotint.data.image_files.stored import StoredImage

ORIENTATION = 0x0112  # EXIF tag
STRIP = 1 << 22  # pixels per strip
BICUBIC = Image.Resampling.BICUBIC
GIANT = 1 << 26  # pixels; larger images are held in memory in one form only
TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
FROM_END = (3, 4, 7, 8)  # the first row is stored as the last row or column


def centre_crop_box(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return the largest centred box in an image of this (width, height) with the aspect ratio of `wanted`.

    Computed as quotients of integers, so that each side is correctly rounded and never outside the image.
    """
    (width, height), (across, down) = size, wanted
    if width * down <= height * across:
        margin, all_of_it = height * across - width * down, 2 * across
        return 0.0, margin / all_of_it, float(width), (height * all_of_it - margin) / all_of_it
    margin, all_of_it = width * down - height * across, 2 * down
    return margin / all_of_it, 0.0, (width * all_of_it - margin) / all_of_it, float(height)


def fitting(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int]:
    """Return (width, height) of that box in whole pixels."""
    (width, height), (across, down) = size, wanted
    if width * down <= height * across:
        return width, max(1, width * down // across)
    return max(1, height * across // down), height


@dataclass(frozen=True)
class Strips:
    """An image that is produced a few rows at a time, to hold it in memory in one form only.

    Args:
        rows: returns the rows from top to bottom (exclusive) in this mode; called from top to bottom.
        mode: L or RGB.
        size: (width, height).
        whole: the image, if it is available.
    """

    rows: Callable[[int, int], Image.Image]
    mode: str
    size: tuple[int, int]
    whole: Image.Image | None = None

    def resized(self, wanted: tuple[int, int]) -> Image.Image:
        """Return the centre crop, resized to this (width, height).

        Up to GIANT pixels Pillow resizes the entire image. Beyond, each strip is resized horizontally, and the result
        vertically: equal up to rounding, as Pillow may resize vertically first.
        """
        left, top, right, bottom = centre_crop_box(self.size, wanted)
        if self.size[0] * self.size[1] <= GIANT:
            return self.put_together(self.size[0]).resize(wanted, BICUBIC, box=(left, top, right, bottom))

        def narrow(part: Image.Image) -> Image.Image:
            return part.resize((wanted[0], part.height), BICUBIC, box=(left, 0, right, part.height))

        whole = self.put_together(wanted[0], narrow)
        return whole.resize(wanted, BICUBIC, box=(0, top, wanted[0], bottom))

    def put_together(self, width: int, change: Callable[[Image.Image], Image.Image] = lambda part: part) -> Image.Image:
        step, height = max(1, STRIP // self.size[0]), self.size[1]
        if self.whole is not None or step >= height:
            return change(self.whole or self.rows(0, height))
        whole = Image.new(self.mode, (width, height))
        for start in range(0, height, step):
            whole.paste(change(self.rows(start, min(start + step, height))), (0, start))
        return whole


def tiff_tags(image: Image.Image) -> Mapping[int, Any]:
    """Return the tags of a TIFF by number."""
    return vars(image)["tag_v2"]


def orientation(image: Image.Image, late: bool = True) -> int:
    """Return the EXIF orientation, 1 to 8; Pillow rotates TIFFs itself.

    Args:
        image: the image.
        late: read a PNG to its end, since the orientation may follow the pixels.
    """
    if image.format == "TIFF":
        return 1
    exif = image.getexif() if late or image.format != "PNG" else Image.Image.getexif(image)
    return exif.get(ORIENTATION, 1)


def rows_of(image: Image.Image, turn: int, top: int, bottom: int) -> Image.Image:
    """Return the rows from top to bottom of an image stored in this orientation, after rotation."""
    width, height = image.size
    if top == 0 and bottom == (width if turn in TURNED else height):
        return image.transpose(TURNS[turn]) if turn in TURNS else image
    if turn in TURNED:
        first, last = (width - bottom, width - top) if turn in FROM_END else (top, bottom)
        part = image.crop((first, 0, last, height))
    else:
        first, last = (height - bottom, height - top) if turn in FROM_END else (top, bottom)
        part = image.crop((0, first, width, last))
    return part.transpose(TURNS[turn]) if turn in TURNS else part


@dataclass(frozen=True)
class Samples:
    """The meaning of stored samples where Pillow does not interpret it.

    Args:
        bits: bits of a grey value, 12 or 16; 8 otherwise.
        inverted: whether 0 is white and Pillow has not inverted it.
        clear: the transparent value, in the file's own bits; None if there is none, or Pillow handles it.
        scale: the factor by which Pillow has scaled grey values of less than 8 bits.
        low: the lower bytes of 16-bit colour with a transparent value; Pillow keeps the upper ones.
    """

    bits: int = 8
    inverted: bool = False
    clear: int | tuple[int, int, int] | None = None
    scale: int = 1
    low: Image.Image | None = None

    @classmethod
    def of(cls, image: Image.Image, file: StoredImage) -> "Samples":
        """Return the samples of an image that is opened and not loaded."""
        if image.mode in ("I", "F"):
            if image.mode == "F" or image.format != "PPM":
                kind = {"I": "32-bit integers", "F": "32-bit floats"}[image.mode]
                raise ValueError(f"its pixels are {kind}: save all of them in one array, and give data=array")
            return cls(16)
        deep = image.mode.startswith("I;16")
        if image.format == "TIFF":
            tags = tiff_tags(image)
            return cls(tags.get(258, (16,))[0], tags.get(262) == 0) if deep else cls()
        clear = image.info.get("transparency")
        if image.format != "PNG" or clear is None or isinstance(clear, bytes):
            return cls(16 if deep else 8)
        if deep:
            return cls(16, clear=clear)
        rawmode = image.tile[0].args if image.tile else ""
        if rawmode in ("L;2", "L;4"):
            return cls(clear=clear, scale=85 if rawmode == "L;2" else 17)
        return cls(clear=clear, low=low_bytes(file)) if rawmode == "RGB;16B" else cls()


def low_bytes(file: StoredImage) -> Image.Image:
    """Return the lower bytes of a PNG of 16-bit colour, by reading it with the other byte order."""
    with file.open("rb") as stream, Image.open(stream, formats=("PNG",)) as image:
        image.tile = [tile._replace(args="RGB;16L") for tile in image.tile]
        image.load()
    return image


def strips_of(image: Image.Image, samples: Samples, turn: int, mode: str) -> Strips:
    """Return a loaded image in EXIF orientation, on white, in this mode, L or RGB."""

    def rows(top: int, bottom: int) -> Image.Image:
        low = samples.low and rows_of(samples.low, turn, top, bottom)
        return to_8bit_opaque(rows_of(image, turn, top, bottom), mode, samples, low)

    done = image.mode == mode and turn not in TURNS and samples == Samples() and not image.has_transparency_data
    return Strips(rows, mode, image.size[::-1] if turn in TURNED else image.size, image if done else None)


def to_8bit_opaque(part: Image.Image, mode: str, samples: Samples, low: Image.Image | None = None) -> Image.Image:
    """Convert to this mode, L or RGB, with transparency composited on white."""
    if samples.clear is not None:
        part = whitened(part, samples, low)
    elif samples.bits > 8:
        part = eight_bits(np.asarray(part), samples)
    elif part.has_transparency_data:
        layer = part.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        white.alpha_composite(layer)
        part = white.convert("RGB")
    elif part.mode == "LAB":
        part = part.convert("RGB")
    return part if part.mode == mode else part.convert(mode)


def eight_bits(values: np.ndarray, samples: Samples) -> Image.Image:
    """Scale grey of 12 or 16 bits to 8 bits."""
    values = values >> (samples.bits - 8)
    return Image.fromarray((255 - values if samples.inverted else values).astype(np.uint8))


def whitened(part: Image.Image, samples: Samples, low: Image.Image | None) -> Image.Image:
    """Replace the transparent value by white; all others are opaque."""
    values = np.asarray(part)
    if low is not None:
        both = values.astype(np.uint16) << 8 | np.asarray(low)
        clear = (both == np.array(samples.clear)).all(-1)
    else:
        clear = values == samples.clear * samples.scale
    shown = np.asarray(eight_bits(values, samples)).copy()
    shown[clear] = 255
    return Image.fromarray(shown)
