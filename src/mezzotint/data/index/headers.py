"""Sizes of plain JPEG and PNG images, found in their bytes without a decoder.

Both functions answer only where the decoder would certainly agree; anything unusual, such as an EXIF orientation, a
profile that may hold one, or a missing end marker, is None, and left to the decoder.
"""

from struct import error, unpack_from
from zlib import crc32

Size = tuple[int, int, int]  # (channels, height, width) of the decoded image

LARGE = 1 << 24  # pixels from which on memory matters to the decoder
FRAMES = (0xC0, 0xC1, 0xC2)  # markers of baseline, extended and progressive JPEG
QUANTISATION, HUFFMAN, RESTART, SCAN, APPLICATION, COMMENT = 0xDB, 0xC4, 0xDD, 0xDA, 0xE0, 0xFE
TABLE, JFIF = 65, 16  # bytes of a quantisation table of 8 bits, and of the header of JFIF
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # by the type of colour
PLAIN = (b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"bKGD", b"pHYs", b"tIME")  # chunks without orientation
END = b"\0\0\0\0IEND\xaeB`\x82"


def size_of(content: bytes) -> Size | None:
    """Return the size of a complete JPEG or PNG; None if only the decoder can tell."""
    try:
        found = jpeg(content) if content[:3] == b"\xff\xd8\xff" else png(content) if content[:16] == PNG else None
    except (IndexError, error):
        return None
    return found if found and 0 < found[1] * found[2] < LARGE else None


def jpeg(content: bytes) -> Size | None:
    """Walk the segments up to the first scan, whose end marker must follow."""
    at, size = 2, None
    while True:
        mark = content[at + 1]
        length = content[at + 2] << 8 | content[at + 3]
        if content[at] != 0xFF or length < 2:
            return None
        if mark in FRAMES:
            if size or content[at + 4] != 8 or content[at + 9] not in (1, 3):
                return None
            size = content[at + 9], *unpack_from(">HH", content, at + 5)
        elif mark == SCAN:
            return size if size and content.rfind(b"\xff\xd9") >= at + 2 + length else None
        elif mark == QUANTISATION:
            if (length - 2) % TABLE or any(kind > 15 for kind in content[at + 4 : at + 2 + length : TABLE]):
                return None
        elif mark not in (HUFFMAN, APPLICATION, COMMENT, RESTART) or (mark == APPLICATION and length < JFIF):
            return None
        at += 2 + length


def png(content: bytes) -> Size | None:
    """Walk the chunks up to the pixels; the last chunk must be the end."""
    width, height, depth, colour, method, filtering, interlaced = unpack_from(">IIBBBBB", content, 16)
    if depth not in DEPTHS.get(colour, ()) or method or filtering or interlaced > 1 or not content.endswith(END):
        return None
    at = 8
    while True:
        length, name = int.from_bytes(content[at : at + 4]), content[at + 4 : at + 8]
        if name == b"IDAT":
            break
        if name not in PLAIN and at > 8:
            return None
        last = at + 8 + length
        if crc32(content[at + 4 : last]) != int.from_bytes(content[last : last + 4]):
            return None
        at += 12 + length
    if any(content.find(other, at) >= 0 for other in (b"eXIf", b"tEXt", b"zTXt", b"iTXt")):
        return None
    return 1 if colour in (0, 4) else 3, height, width
