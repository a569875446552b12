"""Detection of truncated image files without decoding: by end markers, lengths and offsets."""

import os
from typing import BinaryIO

from PIL import Image

from mezzotint.data.image_files.resize import tiff_tags
from mezzotint.data.image_files.stored import StoredImage

TAIL = 64  # bytes at the end that are searched for a marker
CHUNK = 1 << 20


def complete(stored: BinaryIO, image: Image.Image) -> bool:
    """Return whether an opened file looks complete; if not, only decoding is conclusive.

    Args:
        stored: its bytes; the position changes.
        image: the image that was opened in them.
    """
    if image.format in ("MPO", "JPEG"):
        return jpeg_ends(stored)
    size = length(stored)
    if image.format in ("AVIF", "HEIF"):
        return boxes_end(stored) <= size
    if image.format in ("WEBP", "BMP"):
        stored.seek(0)
        head = stored.read(8)
        said = (
            int.from_bytes(head[4:8], "little") + 8 if image.format == "WEBP" else int.from_bytes(head[2:6], "little")
        )
        return 0 < said <= size
    if image.format == "TIFF":
        return tiff_end(image) <= size
    if image.format == "PPM" and image.tile and image.tile[0].codec_name == "raw":
        deep = 2 if image.mode == "I" else 1
        row = (image.width + 7) // 8 if image.mode == "1" else image.width * deep * len(image.getbands())
        return image.tile[0].offset + row * image.height <= size
    tail = last(stored)
    if image.format == "GIF":
        return tail.rstrip(b"\0").endswith(b";")
    marker = {"PNG": b"IEND\xaeB`\x82", "JPEG2000": b"\xff\xd9"}.get(image.format or "")
    return marker is not None and marker in tail


def length(stored: BinaryIO) -> int:
    return stored.seek(0, os.SEEK_END)


def last(stored: BinaryIO) -> bytes:
    stored.seek(max(0, length(stored) - TAIL))
    return stored.read()


def boxes_end(stored: BinaryIO) -> int:
    """Return the end of the last box of an ISO base media file."""
    at = stored.seek(0)
    while len(head := stored.read(16)) >= 8:
        size = int.from_bytes(head[:4])
        if size == 1:
            size = int.from_bytes(head[8:])
        if size < 8:  # 0 goes on to the end of the file, whatever that is
            break
        at = stored.seek(at + size)
    return at


def tiff_end(image: Image.Image) -> int:
    """Return the end of the last strip or tile of the first page."""
    tags = tiff_tags(image)
    offsets, counts = (tags.get(a) or tags.get(b) or () for a, b in ((273, 324), (279, 325)))
    return max((offset + count for offset, count in zip(offsets, counts, strict=False)), default=0)


def jpeg_ends(stored: BinaryIO) -> bool:
    """Return whether an end marker (FFD9) follows the pixels; cameras may write more data after it.

    Thumbnails in the header have one too, so the search starts at the pixels. There FF is always followed by 00 or by a
    restart marker, so that FFD9 does not occur in them.
    """
    begin = scan(stored)
    if begin is None:
        return False
    stored.seek(max(begin, length(stored) - TAIL))
    if b"\xff\xd9" in stored.read():
        return True
    stored.seek(begin)
    before = b""
    while part := stored.read(CHUNK):
        if b"\xff\xd9" in before + part:
            return True
        before = part[-1:]
    return False


def jpeg_bits(file: StoredImage) -> int:
    """Return the bits per sample in the frame header of a JPEG; 0 without one."""
    at = 2
    with file.open("rb") as stored:
        while True:
            stored.seek(at)
            mark = stored.read(5)
            if len(mark) < 5 or mark[0] != 0xFF:
                return 0
            if 0xC0 <= mark[1] <= 0xCF and mark[1] not in (0xC4, 0xC8, 0xCC):
                return mark[4]
            at += 2 + int.from_bytes(mark[2:4])


def scan(stored: BinaryIO) -> int | None:
    """Return the position of the pixels of a JPEG, after the start of its first scan (FFDA)."""
    at = 2
    while True:
        stored.seek(at)
        mark = stored.read(4)
        while mark[:2] == b"\xff\xff":  # padding
            at += 1
            stored.seek(at)
            mark = stored.read(4)
        if len(mark) < 4 or mark[0] != 0xFF:
            return None
        at += 2 + int.from_bytes(mark[2:4])
        if mark[1] == 0xDA:
            return at
