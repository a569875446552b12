"""One image file as an array: upright, on white, cut to the middle, resized with antialiasing."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from mezzotint.data.image_files.formats import CURES, formats, in_line, look, readable
from mezzotint.data.image_files.integrity import complete, jpeg_bits
from mezzotint.data.image_files.memory import ROOM, Room, needed
from mezzotint.data.image_files.png_rows import PngRows, says_late
from mezzotint.data.image_files.resize import GIANT, TURNED, Samples, Strips, fitting, flat, orientation, strips_of
from mezzotint.errors import DataError

RECIPE = b"upright, on white, centre, bicubic"  # part of a digest: whoever changes what follows changes it too
GREY = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I")  # Pillow's modes of images without colour
LARGEST = 178_956_970  # pixels of a picture; beyond that a small file may be made to fill the memory


class PictureError(DataError):
    """A file that cannot be used as a picture.

    Args:
        reason: why, in few words.
        cure: what to do, but for leaving the file out.
    """

    def __init__(self, file: Path, reason: str, cure: str) -> None:
        super().__init__(file, reason, cure)
        self.file, self.reason, self.cure = file, reason, cure

    def __str__(self) -> str:
        return f"{in_line(self.file)} cannot be decoded ({self.reason}): {self.cure}."


class TooSmall(PictureError):
    """An image that would have to be enlarged.

    Args:
        largest: (channels, height, width) that it could have, in the proportions of what is asked for.
    """

    def __init__(self, file: Path, reason: str, largest: tuple[int, int, int]) -> None:
        channels, height, width = largest
        super().__init__(file, reason, enlarging((channels, halvable(height), halvable(width))))
        self.args, self.largest = (file, reason, largest), largest

    def __str__(self) -> str:
        return f"{in_line(self.file)} is {self.reason} (height x width): {self.cure}."


def decode(file: Path, shape: tuple[int, int, int], enlarge: bool = False) -> np.ndarray:
    """uint8 (C, H, W), grey for one channel and RGB for three. An image that has the size already is left as it is.

    Of an animation or a file of several pages it is the first picture.

    Raises:
        PictureError: where the file is damaged, no image, or smaller than it is to be.
    """
    mode = "L" if shape[0] == 1 else "RGB"
    with opened(file) as stored:
        if stored.width * stored.height > GIANT:
            image = giant(stored, file, shape, mode, enlarge)
        else:
            image = usual(stored, file, shape, mode, enlarge)
    pixels = np.asarray(image)
    return pixels[None] if mode == "L" else pixels.transpose(2, 0, 1)


def usual(
    stored: Image.Image, file: Path, shape: tuple[int, int, int], mode: str, enlarge: bool, pixels: int = 0
) -> Image.Image:
    """Decoded as a whole, once there is room for it.

    Args:
        pixels: of the file, where the image is reduced while it is decoded.
    """
    samples = Samples.of(stored, file)
    with room.taken(fitting_in(stored, file, pixels)):
        turn = orientation(stored)
        if not enlarge:
            check_size(file, stored.size[::-1] if turn in TURNED else stored.size, shape)
        stored.load()
        return strips_of(stored, samples, turn, mode).resized((shape[2], shape[1]))


def giant(stored: Image.Image, file: Path, shape: tuple[int, int, int], mode: str, enlarge: bool) -> Image.Image:
    """Decoded in strips, or reduced while it is decoded, where its format has that; else as a whole."""
    if stored.format == "PNG":
        with closing(PngRows(file)) as rows:
            if rows.suits() and orientation(stored, late=False) == 1:
                if not enlarge:
                    check_size(file, stored.size, shape)
                strips = Strips(lambda top, bottom: flat(rows(top, bottom), mode, Samples()), mode, stored.size)
                return strips.resized((shape[2], shape[1]))
    pixels = stored.width * stored.height
    if stored.format in ("JPEG", "MPO"):
        turn = orientation(stored)
        if not enlarge:
            check_size(file, stored.size[::-1] if turn in TURNED else stored.size, shape)
        reduce(stored, shape, turn)
    return usual(stored, file, shape, mode, enlarge, pixels)


def reduce(stored: Image.Image, shape: tuple[int, int, int], turn: int) -> None:
    """Have a giant JPEG decoded at the smallest scale that has twice the shape."""
    twice = 2 * shape[2], 2 * shape[1]
    stored.draft(None, twice[::-1] if turn in TURNED else twice)


def fitting_in(stored: Image.Image, file: Path, pixels: int = 0) -> int:
    """Bytes that decoding takes. Raises PictureError where they are more than pictures are given."""
    wanted = needed(stored, pixels or stored.width * stored.height)
    if wanted > room.size:
        reason = (
            f"decoding its {stored.width:,} x {stored.height:,} pixels as {stored.format} takes {wanted / 1e9:.1f} GB, "
            f"and {room.size / 1e9:.1f} GB is the most that pictures get"
        )
        raise PictureError(file, reason, "scale it down, or convert it to PNG or JPEG, which are decoded in parts")
    return wanted


def header(file: Path) -> tuple[int, int, int]:
    """(channels, height, width) of an image file as it is decoded. Raises PictureError where it is none."""
    with opened(file) as image:
        width, height = upright(image, file)
        return 1 if image.mode in GREY else 3, height, width


def examine(file: Path, shape: tuple[int, int, int], enlarge: bool) -> None:
    """Raises PictureError where a file is no image, too small, or cut short. Decoded only where that must show it."""
    with opened(file) as image:
        if not enlarge:
            turning_matters = fits(image.size, shape) != fits(image.size[::-1], shape)
            check_size(file, upright(image, file) if turning_matters else image.size, shape)
        pixels = image.width * image.height
        if pixels > GIANT and image.format in ("JPEG", "MPO"):
            reduce(image, shape, orientation(image))
        fitting_in(image, file, pixels)
        whole = complete(file, image)
    if not whole:
        decode(file, shape, enlarge)


def addition(content: bytes) -> bytes:
    """What a digest of a file's content has beside it, where an earlier version read it otherwise: a PNG of 2, 4 or 16
    bits with a transparent value that was taken for another one.
    """
    unlike = content[:4] == b"\x89PNG" and content[24] in (2, 4, 16) and content[25] in (0, 2)
    return b"transparent value" if unlike and b"tRNS" in content[: content.find(b"IDAT")] else b""


@contextmanager
def opened(file: Path) -> Iterator[Image.Image]:
    """An image file of the closed list of formats; whatever its decoder makes of it is one PictureError."""
    try:
        with silence, Image.open(file, formats=formats()) as image:
            if image.width * image.height > LARGEST:
                raise Image.DecompressionBombError
            yield image
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise PictureError(file, f"it has more than {LARGEST:,} pixels", "scale it down") from error
    except MemoryError as error:
        raise PictureError(file, "there is not enough memory for it", "scale it down") from error
    except Image.UnidentifiedImageError as error:
        raise stranger(file) from error
    except (FileNotFoundError, PermissionError) as error:
        raise unopened(file, error) from error
    except Exception as error:  # decoders of damaged files fail in every way there is
        raise PictureError(
            file, " ".join(str(error).split()) or type(error).__name__, "mend it or take it out of the folder"
        ) from error


def unopened(file: Path, error: OSError) -> PictureError:
    """A file that was listed, and has gone since or may not be read."""
    reason = "it was here, and is gone" if isinstance(error, FileNotFoundError) else str(error.strerror or error)
    return PictureError(file, reason, "give it back or take it out of the folder")


def content(file: Path) -> bytes:
    """A file as it is stored. Raises PictureError where it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise unopened(file, error) from error


def stranger(file: Path) -> PictureError:
    """What Pillow does not know: of a kind that is not read, or damaged in its first bytes."""
    found = look(file)
    if found == "JPEG" and (bits := jpeg_bits(file)) not in (0, 8):
        return PictureError(file, f"it is a JPEG of {bits} bits, and 8 are read", "convert it to PNG")
    if not found or found in readable():
        reason = "its beginning is damaged" if found else "it is no image"
        return PictureError(file, reason, "mend it or take it out of the folder")
    return PictureError(file, f"it is {found}", CURES.get(found, "convert it to PNG or JPEG"))


class Silence:
    """What Pillow says to Python's warnings is for programmers, and the user is told in errors. For any thread.

    `warnings.catch_warnings` is not: threads would restore the filters in any order.
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


silence, room = Silence(), Room(ROOM)


def fits(size: tuple[int, int], shape: tuple[int, int, int]) -> bool:
    """Whether an image of this (width, height) becomes one of a shape without being enlarged."""
    return size[0] >= shape[2] and size[1] >= shape[1]


def check_size(file: Path, size: tuple[int, int], shape: tuple[int, int, int]) -> None:
    """Refuse an image of this (width, height) that would have to be enlarged: what is blurred is learnt as blurred."""
    if not fits(size, shape):
        width, height = fitting(size, (shape[2], shape[1]))
        reason = f"{size[1]} x {size[0]}, and the shape asks for {shape[1]} x {shape[2]}"
        raise TooSmall(file, reason, (shape[0], height, width))


def enlarging(shape: tuple[int, int, int]) -> str:
    """What can be done about a small picture that fits a shape."""
    return f"data.shape=[{shape[0]},{shape[1]},{shape[2]}] fits it, or data.enlarge=true enlarges it"


def halvable(side: int) -> int:
    """The next lower side that most networks of several levels take: a multiple of 4, from 64 on of 8."""
    step = 8 if side >= 64 else 4 if side >= 8 else 1
    return side // step * step


def upright(image: Image.Image, file: Path) -> tuple[int, int]:
    """(width, height) as it is looked at; the pixels are not read for that."""
    width, height = image.size
    late = image.format == "PNG" and says_late(file)
    return (height, width) if orientation(image, late) in TURNED else (width, height)
