"""Decoding of one stored image: EXIF orientation, white background, centre crop, antialiased resize."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
from PIL import Image

from mezzotint.data.image_files.crops import CENTRE, Crop
from mezzotint.data.image_files.formats import CURES, format_of, formats, in_line, readable
from mezzotint.data.image_files.integrity import complete, jpeg_bits
from mezzotint.data.image_files.memory import DECODE_BUDGET, MemoryBudget, needed
from mezzotint.data.image_files.png_rows import PngRows, says_late
from mezzotint.data.image_files.resize import (
    GIANT,
    TURNED,
    Samples,
    Strips,
    fitting,
    orientation,
    strips_of,
    to_8bit_opaque,
)
from mezzotint.data.image_files.stored import StoredImage
from mezzotint.errors import DataError

GREY = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I")  # Pillow's greyscale modes
LARGEST = 178_956_970  # pixels of an image; Pillow's limit against decompression bombs


class PictureError(DataError):
    """An image file that cannot be used.

    Args:
        file: the file.
        reason: the reason, in a few words.
        cure: the remedy, other than skipping the file.
    """

    def __init__(self, file: StoredImage, reason: str, cure: str) -> None:
        super().__init__(file, reason, cure)
        self.file, self.reason, self.cure = file, reason, cure

    def __str__(self) -> str:
        return f"{in_line(self.file)} cannot be decoded ({self.reason}): {self.cure}."


class TooSmall(PictureError):
    """An image that would have to be enlarged.

    Args:
        file: the file.
        reason: its size, and the required one.
        largest: the largest (channels, height, width) it can have, in the required aspect ratio.
    """

    def __init__(self, file: StoredImage, reason: str, largest: tuple[int, int, int]) -> None:
        channels, height, width = largest
        super().__init__(file, reason, enlarging((channels, halvable(height), halvable(width))))
        self.args, self.largest = (file, reason, largest), largest

    def __str__(self) -> str:
        return f"{in_line(self.file)} is {self.reason} (height x width): {self.cure}."


def decode(file: StoredImage, shape: tuple[int, int, int], enlarge: bool = False, crop: Crop = CENTRE) -> np.ndarray:
    """Return uint8 (C, H, W), grey for one channel and RGB for three; images of the right size are not resampled.

    Of an animation or a file with several pages, the first image.

    Raises:
        PictureError: the file is damaged, not an image, or too small.
    """
    mode = "L" if shape[0] == 1 else "RGB"
    with opened(file) as stored:
        if crop.reducible and stored.width * stored.height > GIANT:
            image = giant(stored, file, shape, mode, enlarge, crop)
        else:
            image = usual(stored, file, shape, mode, enlarge, crop)
    pixels = np.asarray(image)
    return pixels[None] if mode == "L" else pixels.transpose(2, 0, 1)


def usual(
    stored: Image.Image,
    file: StoredImage,
    shape: tuple[int, int, int],
    mode: str,
    enlarge: bool,
    crop: Crop,
    pixels: int = 0,
) -> Image.Image:
    """Decode the entire image, as soon as there is memory for it.

    Args:
        pixels: stored pixels, if the image is downscaled while decoding.
    """
    samples = Samples.of(stored, file)
    with budget.reserve(fitting_in(stored, file, pixels)):
        turn = orientation(stored)
        if not enlarge:
            check_size(file, stored.size[::-1] if turn in TURNED else stored.size, shape)
        stored.load()
        return crop.resize(strips_of(stored, samples, turn, mode), (shape[2], shape[1]))


def giant(
    stored: Image.Image, file: StoredImage, shape: tuple[int, int, int], mode: str, enlarge: bool, crop: Crop
) -> Image.Image:
    """Decode in strips, or downscale while decoding, if the format allows it; otherwise decode the entire image."""
    if stored.format == "PNG":
        with file.open("rb") as stream:
            rows = PngRows(stream)
            if rows.suits() and orientation(stored, late=False) == 1:
                if not enlarge:
                    check_size(file, stored.size, shape)
                strips = Strips(
                    lambda top, bottom: to_8bit_opaque(rows(top, bottom), mode, Samples()), mode, stored.size
                )
                return crop.resize(strips, (shape[2], shape[1]))
    pixels = stored.width * stored.height
    if stored.format in ("JPEG", "MPO"):
        turn = orientation(stored)
        if not enlarge:
            check_size(file, stored.size[::-1] if turn in TURNED else stored.size, shape)
        reduce(stored, shape, turn)
    return usual(stored, file, shape, mode, enlarge, crop, pixels)


def reduce(stored: Image.Image, shape: tuple[int, int, int], turn: int) -> None:
    """Set a large JPEG to be decoded at the smallest scale with at least twice the shape."""
    twice = 2 * shape[2], 2 * shape[1]
    stored.draft(None, twice[::-1] if turn in TURNED else twice)


def fitting_in(stored: Image.Image, file: StoredImage, pixels: int = 0) -> int:
    """Return the bytes that decoding needs; raise PictureError if they exceed the memory limit."""
    wanted = needed(stored, pixels or stored.width * stored.height)
    if wanted > budget.size:
        reason = (
            f"decoding its {stored.width:,} x {stored.height:,} pixels as {stored.format} takes {wanted / 1e9:.1f} GB, "
            f"and {budget.size / 1e9:.1f} GB is the limit for decoding"
        )
        raise PictureError(file, reason, "scale it down, or convert it to PNG or JPEG, which are decoded in parts")
    return wanted


def header(file: StoredImage) -> tuple[int, int, int]:
    """Return (channels, height, width) of the decoded image; raise PictureError if it is not an image."""
    with opened_bytes(file) as (image, stream):
        width, height = oriented_size(image, stream)
        return 1 if image.mode in GREY else 3, height, width


def examine(file: StoredImage, shape: tuple[int, int, int], enlarge: bool, crop: Crop = CENTRE) -> None:
    """Raise PictureError if a file is not an image, too small or truncated; it is decoded only if necessary."""
    with opened_bytes(file) as (image, stream):
        if not enlarge:
            turning_matters = fits(image.size, shape) != fits(image.size[::-1], shape)
            check_size(file, oriented_size(image, stream) if turning_matters else image.size, shape)
        pixels = image.width * image.height
        if crop.reducible and pixels > GIANT and image.format in ("JPEG", "MPO"):
            reduce(image, shape, orientation(image))
        fitting_in(image, file, pixels)
        whole = complete(stream, image)
    if not whole:
        decode(file, shape, enlarge, crop)


def addition(content: bytes) -> bytes:
    """Return what the digest includes for files that an earlier version decoded differently.

    These are PNGs of 2, 4 or 16 bits with a transparent value, which was misread.
    """
    unlike = content[:4] == b"\x89PNG" and content[24] in (2, 4, 16) and content[25] in (0, 2)
    return b"transparent value" if unlike and b"tRNS" in content[: content.find(b"IDAT")] else b""


@contextmanager
def opened(file: StoredImage) -> Iterator[Image.Image]:
    """Open an image of a supported format; every decoder error becomes a PictureError."""
    with opened_bytes(file) as (image, _):
        yield image


@contextmanager
def opened_bytes(file: StoredImage) -> Iterator[tuple[Image.Image, BinaryIO]]:
    """Open an image as `opened` does, and yield its stored bytes with it."""
    try:
        with silence, file.open("rb") as stream, Image.open(stream, formats=formats()) as image:
            if image.width * image.height > LARGEST:
                raise Image.DecompressionBombError
            yield image, stream
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise PictureError(file, f"it has more than {LARGEST:,} pixels", "scale it down") from error
    except MemoryError as error:
        raise PictureError(file, "there is not enough memory for it", "scale it down") from error
    except Image.UnidentifiedImageError as error:
        raise unidentified(file) from error
    except (FileNotFoundError, PermissionError) as error:
        raise unopened(file, error) from error
    except Exception as error:  # decoders raise all kinds of errors on damaged files
        raise PictureError(
            file, " ".join(str(error).split()) or type(error).__name__, "fix it, or remove it from the folder"
        ) from error


def unopened(file: StoredImage, error: OSError) -> PictureError:
    """Return the error of a listed file that has been removed or is not readable."""
    reason = (
        "it was there before and no longer exists"
        if isinstance(error, FileNotFoundError)
        else str(error.strerror or error)
    )
    return PictureError(file, reason, "restore it, or remove it from the folder")


def content(file: StoredImage) -> bytes:
    """Return the bytes of a file; raise PictureError if it cannot be read."""
    try:
        with file.open("rb") as stream:
            return stream.read()
    except OSError as error:
        raise unopened(file, error) from error


def unidentified(file: StoredImage) -> PictureError:
    """Return the error of a file that Pillow cannot identify: an unsupported format, or a damaged header."""
    found = format_of(file)
    if found == "JPEG" and (bits := jpeg_bits(file)) not in (0, 8):
        return PictureError(file, f"it is a JPEG of {bits} bits, and only 8 are supported", "convert it to PNG")
    if not found or found in readable():
        reason = "its beginning is damaged" if found else "it is not an image"
        return PictureError(file, reason, "fix it, or remove it from the folder")
    return PictureError(file, f"it is {found}", CURES.get(found, "convert it to PNG or JPEG"))


class Silence:
    """Suppresses Pillow's warnings, thread-safely; problems are reported as errors.

    `warnings.catch_warnings` is not thread-safe: threads would restore the filters in any order.
    """

    def __init__(self) -> None:
        self.lock, self.depth = threading.Lock(), 0

    def __enter__(self) -> None:
        with self.lock:
            self.depth += 1
            if self.depth == 1:
                self.kept = warnings.catch_warnings()
                self.kept.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.depth -= 1
            if self.depth == 0:
                self.kept.__exit__(None, None, None)


silence, budget = Silence(), MemoryBudget(DECODE_BUDGET)


def fits(size: tuple[int, int], shape: tuple[int, int, int]) -> bool:
    """Return whether an image of this (width, height) has the shape's size or more."""
    return size[0] >= shape[2] and size[1] >= shape[1]


def check_size(file: StoredImage, size: tuple[int, int], shape: tuple[int, int, int]) -> None:
    """Raise TooSmall for an image of this (width, height) that would have to be enlarged, which blurs it."""
    if not fits(size, shape):
        width, height = fitting(size, (shape[2], shape[1]))
        reason = f"{size[1]} x {size[0]}, and the shape requires {shape[1]} x {shape[2]}"
        raise TooSmall(file, reason, (shape[0], height, width))


def enlarging(shape: tuple[int, int, int]) -> str:
    """Return the remedy for small images that fit a shape."""
    return f"data.shape=[{shape[0]},{shape[1]},{shape[2]}] fits it, or data.enlarge=true enlarges it"


def halvable(side: int) -> int:
    """Round a side down to what most multi-level networks support: a multiple of 4, or of 8 from 64 on."""
    step = 8 if side >= 64 else 4 if side >= 8 else 1
    return side // step * step


def oriented_size(image: Image.Image, stream: BinaryIO) -> tuple[int, int]:
    """Return (width, height) in EXIF orientation, without reading the pixels."""
    width, height = image.size
    late = image.format == "PNG" and says_late(stream)
    return (height, width) if orientation(image, late) in TURNED else (width, height)
