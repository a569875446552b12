"""What is done to an opened picture: turned upright, laid on white, cut to the middle and resized, in strips."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

ORIENTATION = 0x0112  # of EXIF
STRIP = 1 << 22  # pixels that are converted at once
BICUBIC = Image.Resampling.BICUBIC
GIANT = 1 << 26  # pixels; a picture of more never lies in memory in more than one form
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
FROM_END = (3, 4, 7, 8)  # whose first upright row is the last one or the last column that is stored


def middle(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest box in the middle of an image of this (width, height) with the proportions of `wanted`.

    Quotients of whole numbers, so that each side is the float nearest to its exact value and never outside the image.
    """
    (width, height), (across, down) = size, wanted
    if width * down <= height * across:
        margin, all_of_it = height * across - width * down, 2 * across
        return 0.0, margin / all_of_it, float(width), (height * all_of_it - margin) / all_of_it
    margin, all_of_it = width * down - height * across, 2 * down
    return margin / all_of_it, 0.0, (width * all_of_it - margin) / all_of_it, float(height)


def fitting(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of that box in whole pixels."""
    (width, height), (across, down) = size, wanted
    if width * down <= height * across:
        return width, max(1, width * down // across)
    return max(1, height * across // down), height


@dataclass(frozen=True)
class Strips:
    """An image that is made a few rows at a time, so that it lies in memory in one form only.

    Args:
        rows: gives the rows from a first to a last one, in this mode; called from the top downwards.
        size: (width, height).
        whole: the image, where it needs not be made.
    """

    rows: Callable[[int, int], Image.Image]
    mode: str
    size: tuple[int, int]
    whole: Image.Image | None = None

    def resized(self, wanted: tuple[int, int]) -> Image.Image:
        """The middle of the image, in this (width, height).

        Up to GIANT pixels Pillow resizes the whole. Beyond it every strip is resized along its rows, and what comes of
        that along the columns: the same but for rounding, as Pillow begins with the columns where that is cheaper.
        """
        left, top, right, bottom = middle(self.size, wanted)
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


def orientation(image: Image.Image, late: bool = True) -> int:
    """By EXIF, 1 to 8; TIFFs are turned by Pillow itself.

    Args:
        late: whether a PNG is read to its end, as this may stand behind its pixels.
    """
    if image.format == "TIFF":
        return 1
    exif = image.getexif() if late or image.format != "PNG" else Image.Image.getexif(image)
    return exif.get(ORIENTATION, 1)


def rows_of(image: Image.Image, turn: int, top: int, bottom: int) -> Image.Image:
    """The rows from top to bottom of an image that is stored in this orientation, upright."""
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
    """What the numbers of a file mean beyond what Pillow makes of them.

    Args:
        bits: of a grey value above 8, 12 or 16; 8 of everything else.
        inverted: whether 0 is white, where Pillow leaves that as it is.
        clear: the one value that is transparent, in the file's own bits; None where there is none, or Pillow knows it.
        scale: what Pillow has multiplied grey values of less than 8 bits with.
        low: the lower bytes of 16-bit colour that has a transparent one; Pillow keeps the upper ones.
    """

    bits: int = 8
    inverted: bool = False
    clear: int | tuple[int, int, int] | None = None
    scale: int = 1
    low: Image.Image | None = None

    @classmethod
    def of(cls, image: Image.Image, file: Path) -> "Samples":
        """Of an image that was opened and not loaded."""
        if image.mode in ("I", "F"):
            if image.mode == "F" or image.format != "PPM":
                raise ValueError(f"its pixels are {image.mode}, neither 8 nor 16 bits")
            return cls(16)
        deep = image.mode.startswith("I;16")
        if image.format == "TIFF":
            tags = image.tag_v2  # type: ignore[attr-defined]
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


def low_bytes(file: Path) -> Image.Image:
    """The lower bytes of a PNG of 16-bit colour: what is left when its numbers are read from the other end."""
    with Image.open(file, formats=("PNG",)) as image:
        image.tile = [tile._replace(args="RGB;16L") for tile in image.tile]
        image.load()
    return image


def strips_of(image: Image.Image, samples: Samples, turn: int, mode: str) -> Strips:
    """A loaded image upright, on white and in this mode, L or RGB."""

    def rows(top: int, bottom: int) -> Image.Image:
        low = samples.low and rows_of(samples.low, turn, top, bottom)
        return flat(rows_of(image, turn, top, bottom), mode, samples, low)

    done = image.mode == mode and turn not in TURNS and samples == Samples() and not image.has_transparency_data
    return Strips(rows, mode, image.size[::-1] if turn in TURNED else image.size, image if done else None)


def flat(part: Image.Image, mode: str, samples: Samples, low: Image.Image | None = None) -> Image.Image:
    """In this mode, L or RGB, and without transparency: what shines through is white."""
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
    """Grey of 12 or 16 bits, scaled down and not cut off."""
    values = values >> (samples.bits - 8)
    return Image.fromarray((255 - values if samples.inverted else values).astype(np.uint8))


def whitened(part: Image.Image, samples: Samples, low: Image.Image | None) -> Image.Image:
    """The one transparent value becomes white; every other one is opaque."""
    values = np.asarray(part)
    if low is not None:
        both = values.astype(np.uint16) << 8 | np.asarray(low)
        clear = (both == np.array(samples.clear)).all(-1)
    else:
        clear = values == samples.clear * samples.scale
    shown = np.asarray(eight_bits(values, samples)).copy()
    shown[clear] = 255
    return Image.fromarray(shown)
