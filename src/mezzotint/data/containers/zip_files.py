"""Zip archives, read by position: stored and deflated members, zip64, and the labels in a dataset.json."""

import mmap
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mezzotint.data.containers.base import Member
from mezzotint.data.containers.member_image import Beginning
from mezzotint.data.containers.member_names import is_hidden, is_image_name, member_name
from mezzotint.data.containers.shard_files import Archives, ended
from mezzotint.data.image_files.class_folders import LABELS, composed, parsed_labels
from mezzotint.data.image_files.formats import HEAD, unread
from mezzotint.errors import DataError

END = struct.Struct("<4s4H2LH")  # end of the central directory
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR = struct.Struct("<4sLQL")  # of the end of a zip64 directory
ENTRY = struct.Struct("<4s6H3L5H2L")  # of the central directory
LOCAL = struct.Struct("<4s5H3L2H")  # header of a member
COMMENT = 1 << 16  # bytes that may follow the end of the directory
FULL, FULL_COUNT = 0xFFFFFFFF, 0xFFFF  # values that stand in the zip64 fields
STORED, DEFLATED = 0, 8
ENCRYPTED, STREAMED, UTF8 = 1, 8, 1 << 11  # flags
GUESS = 256  # bytes of name and extra fields that are read with a member
LARGEST = 1 << 30  # bytes of an unpacked image
RATIO, SMALL = 200, 1 << 24  # an image larger than SMALL that shrinks more than this is a bomb
METHODS = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "xz", 99: "encryption"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A member in the central directory of an archive.

    Args:
        name: its path.
        flags, method: how it is stored.
        packed, unpacked: bytes in the archive, and of its content.
        offset: of its header.
    """

    name: str
    flags: int
    method: int
    packed: int
    unpacked: int
    offset: int


@dataclass(frozen=True)
class ZipArchive(Archives):
    """The images in a zip archive, or in several.

    A dataset.json, as the tools of StyleGAN and EDM write it, gives the labels of images below its folder.
    """

    def read(self, shard: int, offset: int, size: int) -> bytes:
        content, flags, method, declared = self._packed(shard, offset, size)
        if method == STORED:
            return content
        return inflate(content, None if flags & STREAMED else declared)

    def _packed(self, shard: int, offset: int, size: int) -> tuple[bytes, int, int, int]:
        """Return the packed bytes of a member, its flags, its method, and the unpacked size that it declares."""
        file = self.files[shard]
        found = file.read(offset, LOCAL.size + GUESS + size)
        if len(found) < LOCAL.size:
            raise ended(file.path)
        mark, _, flags, method, _, _, _, _, declared, name, extra = LOCAL.unpack_from(found)
        if mark != b"PK\3\4":
            raise DataError(f"{file.path} is damaged or has changed: there is no member at byte {offset:,}.")
        first = LOCAL.size + name + extra
        if len(found) < first + size:
            found = self.files.read(shard, offset, first + size)
        if declared == FULL:
            (declared,) = wide(found[LOCAL.size + name : first], (FULL,))
        return found[first : first + size], flags, method, declared

    def members_of(self, shard: int, prefix: str) -> Iterator[Member]:
        path = self.paths[shard]
        with directory(path) as held:
            labels = self._labels(shard, held)
            for entry in held.entries():
                if entry.name.endswith("/") or is_hidden(entry.name) or entry.name.endswith(LABELS):
                    continue
                if not is_image_name(entry.name) and unread(self._beginning(shard, entry)) is None:
                    continue
                check(entry, path)
                yield Member(
                    prefix + entry.name, shard, entry.offset, entry.packed, labels.get(entry.name) if labels else None
                )

    def _beginning(self, shard: int, entry: Entry) -> Beginning:
        def read() -> bytes:
            content, _, method, _ = self._packed(shard, entry.offset, min(entry.packed, HEAD * 2))
            if entry.flags & ENCRYPTED or method not in (STORED, DEFLATED):
                return b""
            return content[:HEAD] if method == STORED else zlib.decompressobj(-15).decompress(content, HEAD)

        return Beginning(entry.name.rpartition("/")[2], read)

    def _labels(self, shard: int, held: "Directory") -> dict[str, int]:
        """Return the labels in every dataset.json, by the name of the member."""
        found: dict[str, int] = {}
        for entry in held.named(LABELS):
            check(entry, self.paths[shard])
            where = f"{self.paths[shard]}/{entry.name}"
            labels = parsed_labels(self.read(shard, entry.offset, entry.packed), where)
            below = entry.name.removesuffix(LABELS)
            found |= {below + composed(name): label for name, label in (labels or {}).items()}
        return found


# -------------------------------------------------------------------------------------------------- central directory


class Directory:
    """The central directory of an archive, in memory as a map of the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            if not size:
                raise DataError(f"{path} is empty: copy or download it again.")
            self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.start, self.length, self.count, self.shift = self._place(size)

    def __enter__(self) -> "Directory":
        return self

    def __exit__(self, *_: object) -> None:
        self.map.close()

    def entries(self) -> Iterator[Entry]:
        """Yield the members. Raises DataError: the directory is damaged."""
        at, stop = self.start, self.start + self.length
        for _ in range(self.count):
            entry, at = self._entry(at, stop)
            yield entry

    def named(self, name: str) -> Iterator[Entry]:
        """Yield the members of this name, in any folder."""
        wanted, at, stop = name.encode(), self.start, self.start + self.length
        while (at := self.map.find(wanted, at, stop)) >= 0:
            begin = self.map.rfind(b"PK\1\2", self.start, at)
            entry, _ = self._entry(begin, stop)
            if entry.name == name or entry.name.endswith(f"/{name}"):
                yield entry
            at += len(wanted)

    def _entry(self, at: int, stop: int) -> tuple[Entry, int]:
        if at < self.start or at + ENTRY.size > stop or self.map[at : at + 4] != b"PK\1\2":
            raise self._damaged()
        _, _, _, flags, method, _, _, _, packed, unpacked, named, extra, comment, _, _, _, offset = ENTRY.unpack_from(
            self.map, at
        )
        at += ENTRY.size
        stored = self.map[at : at + named]
        if FULL in (packed, unpacked, offset):
            unpacked, packed, offset = wide(self.map[at + named : at + named + extra], (unpacked, packed, offset))
        after = at + named + extra + comment
        if after > stop:
            raise self._damaged()
        try:
            name = stored.decode("utf-8" if flags & UTF8 or not stored.isascii() else "ascii")
        except UnicodeDecodeError:
            name = stored.decode("cp437")
        return Entry(member_name(name, self.path), flags, method, packed, unpacked, offset + self.shift), after

    def _place(self, size: int) -> tuple[int, int, int, int]:
        """Return start, length and entries of the directory, and what offsets are short of, by bytes put before."""
        end = self.map.rfind(b"PK\5\6", max(0, size - END.size - COMMENT))
        if end < 0 or end + END.size > size:
            raise DataError(
                f"{self.path} is truncated, or no zip archive: its list of members is missing. Copy or download it "
                "again."
            )
        _, disk, _, _, count, length, start, _ = END.unpack_from(self.map, end)
        if disk not in (0, FULL_COUNT):
            raise DataError(f"{self.path} is a part of a split archive: put it together first, `zip -s 0 {self.path}`.")
        if FULL in (length, start) or count == FULL_COUNT:
            mark, _, place, _ = LOCATOR.unpack_from(self.map, end - LOCATOR.size)
            if mark == b"PK\6\7":
                end = place if self.map[place : place + 4] == b"PK\6\6" else self.map.rfind(b"PK\6\6", 0, end)
                _, _, _, _, _, _, _, count, length, start = END64.unpack_from(self.map, end)
        shift = end - length - start
        if shift < 0:
            raise self._damaged()
        return end - length, length, count, shift

    def _damaged(self) -> DataError:
        return DataError(f"{self.path} is damaged: its list of members is not readable. Copy or download it again.")


def directory(path: Path) -> Directory:
    """Return the directory of an archive. Raises DataError: it is not readable."""
    try:
        return Directory(path)
    except DataError:
        raise
    except (OSError, struct.error, ValueError) as error:
        raise DataError(f"{path} cannot be read as a zip archive ({error}): copy or download it again.") from error


def wide(extra: bytes, narrow: tuple[int, ...]) -> list[int]:
    """Return values of 64 bits from the zip64 field, for those that do not fit into 32 bits."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            found = iter(struct.unpack_from(f"<{length // 8}Q", extra, at + 4))
            return [next(found, value) if value == FULL else value for value in narrow]
        at += 4 + length
    return list(narrow)


def check(entry: Entry, path: Path) -> None:
    """Raise DataError for a member that is encrypted, packed in another way, or a bomb."""
    where = f"{path}/{entry.name}"
    if entry.flags & ENCRYPTED:
        raise DataError(f"{where} is encrypted: pack the images again without a password.")
    if entry.method not in (STORED, DEFLATED):
        method = METHODS.get(entry.method, f"method {entry.method}")
        raise DataError(f"{where} is packed by {method}, which is not read: pack the images again with `zip -0 -r`.")
    if entry.method == STORED and entry.packed != entry.unpacked:
        raise DataError(f"{where} declares {entry.unpacked:,} bytes and holds {entry.packed:,}: pack it again.")
    if entry.unpacked > LARGEST or (entry.unpacked > SMALL and entry.unpacked > RATIO * entry.packed):
        raise DataError(
            f"{where} unpacks from {entry.packed:,} to {entry.unpacked:,} bytes, as a zip bomb does: remove it."
        )


def inflate(packed: bytes, declared: int | None) -> bytes:
    """Return deflated bytes unpacked.

    Args:
        declared: their size; None if only the directory has it.

    Raises:
        OSError: they are damaged, or more or fewer than declared.
    """
    limit = LARGEST if declared is None else declared
    unpack = zlib.decompressobj(-15)
    try:
        found = unpack.decompress(packed, limit + 1)
    except zlib.error as error:
        raise OSError(f"its packed bytes are damaged: {str(error).partition(': ')[2] or error}") from error
    if len(found) > limit:
        raise OSError(f"it unpacks to more than the {limit:,} bytes that it declares")
    if (declared is not None and len(found) < declared) or not unpack.eof:
        raise OSError(f"it unpacks to {len(found):,} bytes instead of {limit:,}")
    return found
