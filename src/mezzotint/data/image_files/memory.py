"""How much memory pictures take while they are decoded, and its bound over all threads of a process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from mezzotint.data.image_files.resize import GIANT

ROOM = 1 << 30  # bytes of pictures that the threads of a process decode at once
STORED = 4  # bytes a pixel in Pillow's memory
CONVERTED = 11  # bytes a pixel, with the forms that transparency and palettes pass through
# Bytes a pixel at the peak of decoders that hand over the whole picture, measured on 25 megapixels (Pillow 11 to 13)
WHOLE = {"WEBP": 16, "AVIF": 12, "HEIF": 12, "JXL": 16, "JPEG2000": 20}
ROWS, TURN = 278, 274  # TIFF's tags: rows of a strip, orientation


def needed(image: Image.Image, pixels: int) -> int:
    """Bytes that an opened image takes while it is decoded, told from its header.

    Args:
        pixels: that are stored in the file; the image has fewer where it is reduced while it is decoded.
    """
    own = image.width * image.height
    peak = WHOLE.get(image.format or "", STORED) * own
    if image.format in ("JPEG", "MPO") and "progressive" in image.info:  # int16 coefficients of the whole file
        peak += 2 * len(image.getbands()) * pixels
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        turned = STORED * own if tags.get(TURN, 1) != 1 else 0
        packed = any(tile.codec_name == "libtiff" for tile in image.tile)  # which unpacks a strip before it is copied
        strip = STORED * image.width * min(tags.get(ROWS, image.height), image.height) if packed else 0
        peak += max(turned, strip)
    if image.format == "PNG" and "transparency" in image.info and image.tile and image.tile[0].args == "RGB;16B":
        peak *= 2  # upper and lower bytes
    converted = own <= GIANT and (image.mode not in ("L", "RGB") or image.has_transparency_data)
    return max(peak, CONVERTED * own if converted else 0)


class Room:
    """Memory that threads share: who wants more than is left waits."""

    def __init__(self, size: int) -> None:
        self.size, self.left, self.change = size, size, threading.Condition()

    @contextmanager
    def taken(self, wanted: int) -> Iterator[None]:
        wanted = min(wanted, self.size)
        with self.change:
            self.change.wait_for(lambda: self.left >= wanted)
            self.left -= wanted
        try:
            yield
        finally:
            with self.change:
                self.left += wanted
                self.change.notify_all()
