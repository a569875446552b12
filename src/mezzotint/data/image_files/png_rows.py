"""Row-wise decoding of PNG: the stream is decompressed in pieces, and Pillow decodes a few rows at a time.

Of an image of 13,000 x 13,000 with transparency, 0.7 GB of pixels, only a few rows are in memory.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
KEPT = (b"PLTE", b"tRNS")  # chunks that pixels depend on
LATE = (b"eXIf", b"iTXt")  # chunks after the pixels that may contain the orientation
TEXTS = (b"zTXt", b"tEXt")  # and these, if they start with
PROFILE = b"Raw profile type exif"


class PngRows:
    """Rows of a non-interlaced PNG with 8 bits per sample, called from top to bottom.

    PNG filters refer to the previous row at most, so some rows with the one before them form a PNG as well.
    """

    def __init__(self, stored: BinaryIO) -> None:
        self.stored = stored
        self.chunks = chunks(self.stored)
        _, start, length = next(self.chunks)
        self.stored.seek(start)
        self.header = self.stored.read(length)
        self.width, self.height, self.bits, self.colour = struct.unpack(">IIBB", self.header[:10])
        self.row = self.width * CHANNELS[self.colour]
        self.before = bytes(self.row)
        self.stream = self.unpacked()
        self.waiting = bytearray()
        self.kept: list[tuple[bytes, bytes]] = []

    def suits(self) -> bool:
        """Return whether the file is supported and needs no rotation."""
        return self.bits == 8 and self.header[12] == 0 and not says_late(self.stored)

    def __call__(self, top: int, bottom: int) -> Image.Image:
        wanted = (bottom - top) * (self.row + 1)
        while len(self.waiting) < wanted:
            part = next(self.stream, b"")
            if not part:
                raise OSError("image file is truncated")
            self.waiting += part
        rows = bytes(self.waiting[:wanted])
        del self.waiting[:wanted]
        header = struct.pack(">II", self.width, bottom - top + 1) + self.header[8:]
        body = zlib.compress(b"\0" + self.before + rows, 0)
        small = b"".join(chunk(*it) for it in ((b"IHDR", header), *self.kept, (b"IDAT", body), (b"IEND", b"")))
        with Image.open(io.BytesIO(b"\x89PNG\r\n\x1a\n" + small), formats=("PNG",)) as image:
            image.load()
        self.before = np.asarray(image.crop((0, bottom - top, self.width, bottom - top + 1))).tobytes()
        return image.crop((0, 1, self.width, bottom - top + 1))

    def unpacked(self) -> Iterator[bytes]:
        """Yield the filtered rows, in pieces."""
        unpack = zlib.decompressobj()
        for name, start, length in self.chunks:
            if name not in (*KEPT, b"IDAT"):
                continue
            self.stored.seek(start)
            packed = self.stored.read(length)
            if name in KEPT:
                self.kept.append((name, packed))
                continue
            while packed and not unpack.eof:
                if part := unpack.decompress(packed, 1 << 20):
                    yield part
                packed = unpack.unconsumed_tail
        yield unpack.flush()


def says_late(stored: BinaryIO) -> bool:
    """Return whether a chunk after the pixels may contain the orientation; the position stays where it is."""
    position = stored.tell()
    try:
        return any(may_orient(stored, name, start) for name, start in behind_pixels(stored))
    finally:
        stored.seek(position)


def behind_pixels(stored: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield name and position of each chunk from the first one of pixels on."""
    behind = False
    for name, start, _ in chunks(stored):
        behind = behind or name == b"IDAT"
        if behind:
            yield name, start


def may_orient(stored: BinaryIO, name: bytes, start: int) -> bool:
    if name not in TEXTS:
        return name in LATE
    stored.seek(start)
    return stored.read(len(PROFILE)) == PROFILE


def chunks(stored: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, position and length of each chunk."""
    at = 8
    while True:
        stored.seek(at)
        head = stored.read(8)
        if len(head) < 8:
            return
        length, name = int.from_bytes(head[:4]), head[4:]
        yield name, at + 8, length
        at += length + 12


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
