"""Memory needed to decode images, and its limit over all threads of a process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from mezzotint.data.image_files.resize import GIANT, tiff_tags

DECODE_BUDGET = 1 << 30  # bytes of images that the threads of a process decode at the same time
STORED = 4  # bytes per pixel in Pillow
CONVERTED = 11  # bytes per pixel while converting transparency and palettes
# Peak bytes per pixel of decoders that return the entire image, measured at 25 megapixels (Pillow 11 to 13)
WHOLE = {"WEBP": 16, "AVIF": 12, "HEIF": 12, "JXL": 16, "JPEG2000": 20}
ROWS, TURN = 278, 274  # TIFF's tags: rows of a strip, orientation


def needed(image: Image.Image, pixels: int) -> int:
    """Return the bytes that decoding an opened image takes, from its header.

    Args:
        image: the image, not loaded.
        pixels: stored pixels; the image has fewer if it is downscaled while decoding.
    """
    own = image.width * image.height
    peak = WHOLE.get(image.format or "", STORED) * own
    if image.format in ("JPEG", "MPO") and "progressive" in image.info:  # int16 coefficients of the whole file
        peak += 2 * len(image.getbands()) * pixels
    if image.format == "TIFF":
        tags = tiff_tags(image)
        turned = STORED * own if tags.get(TURN, 1) != 1 else 0
        packed = any(
            tile.codec_name == "libtiff" for tile in image.tile
        )  # libtiff decompresses a strip before copying it
        strip = STORED * image.width * min(tags.get(ROWS, image.height), image.height) if packed else 0
        peak += max(turned, strip)
    if image.format == "PNG" and "transparency" in image.info and image.tile and image.tile[0].args == "RGB;16B":
        peak *= 2  # upper and lower bytes
    converted = own <= GIANT and (image.mode not in ("L", "RGB") or image.has_transparency_data)
    return max(peak, CONVERTED * own if converted else 0)


class MemoryBudget:
    """A memory budget that threads share: a request that exceeds what is left waits."""

    def __init__(self, size: int) -> None:
        self.size, self.left, self.change = size, size, threading.Condition()

    @contextmanager
    def reserve(self, wanted: int) -> Iterator[None]:
        """Hold this many bytes, at most the entire budget, waiting until they are free."""
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
