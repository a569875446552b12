"""Headers of a tar archive, listed without reading what lies between them: ustar, GNU and pax.

Python's `tarfile` builds an object with twenty attributes for each of them, in about ten times the time.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from mezzotint.data.containers.member_names import member_name
from mezzotint.data.containers.shard_files import OpenFile
from mezzotint.errors import DataError

BLOCK = 512
WINDOW, SHORT = 1 << 18, 1 << 12  # bytes read at once, of small members and of large ones
LONGEST = 1 << 20  # bytes of a long name, of a label or a caption
REGULAR = (b"0", b"\0", b"7")
LONG_NAME, PAX, SPARSE = b"L", (b"x", b"X"), b"S"
ZERO = bytes(BLOCK)


@dataclass(frozen=True, slots=True)
class Item:
    """A regular file in a tar archive: its name, and the position and number of its bytes."""

    name: str
    offset: int
    size: int

    @property
    def last(self) -> str:
        """The last part of the name."""
        return self.name[self.name.rfind("/") + 1 :]

    @property
    def key(self) -> str:
        """The name up to the first dot of its last part: WebDataset's key of a sample."""
        dot = self.name.find(".", self.name.rfind("/") + 1)
        return self.name if dot < 0 else self.name[:dot]

    @property
    def kind(self) -> str:
        """The ending: all that follows the key and the dot, in lower case."""
        return self.last.partition(".")[2].lower()


class TarHeaders:
    """The regular files of an archive in the order in which they are stored."""

    def __init__(self, file: OpenFile) -> None:
        self.file, self.start, self.window, self.ahead = file, 0, b"", WINDOW

    def items(self) -> Iterator[Item]:
        """Yield the files. Raises DataError: the archive is truncated or damaged."""
        at, renamed, resized = 0, "", -1
        while (block := self.part(at, BLOCK)) and (block[0] or block != ZERO):
            self._check(block, at)
            kind, size = block[156:157], number(block[124:136])
            content, name = at + BLOCK, renamed or name_in(block)
            if resized >= 0 and kind in REGULAR:
                size = resized
            if size < 0 or content + size > self.file.size:
                raise DataError(f"{self.file.path} is truncated: it ends within {name}. Copy or download it again.")
            at = content + -(-size // BLOCK) * BLOCK
            if kind == LONG_NAME:
                renamed = text_of(self.part(content, min(size, LONGEST)).rstrip(b"\0"))
                continue
            if kind in PAX:
                values = records(self.part(content, min(size, LONGEST)))
                renamed, resized = values.get("path", renamed), int(values.get("size", "-1"))
                self._refuse_sparse(any(key.startswith("GNU.sparse") for key in values), name)
                continue
            self._refuse_sparse(kind == SPARSE, name)
            if kind in REGULAR and not name.endswith("/"):
                self.ahead = WINDOW if size < WINDOW // 4 else SHORT
                yield Item(member_name(name, self.file.path), content, size)
            if kind != b"g":
                renamed, resized = "", -1
        if not block:
            raise DataError(
                f"{self.file.path} is truncated: it lacks the zeros that end a tar archive. Copy or download it again."
            )

    def text(self, item: Item) -> str:
        """Return a short file as text. Raises DataError: it is none."""
        where = f"{self.file.path}/{item.name}"
        if item.size > LONGEST:
            raise DataError(f"{where} is {item.size:,} bytes, too long for a label or a caption: shorten it.")
        try:
            return self.part(item.offset, item.size).decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{where} is no text in UTF-8: write it again.") from error

    def part(self, at: int, size: int) -> bytes:
        """Return bytes from the part that has been read, or read the next part."""
        first = at - self.start
        if first < 0 or first + size > len(self.window):
            found = self.file.read(at, max(size, self.ahead))
            if first < 0:  # behind: what is ahead stays
                return found[:size]
            self.start, self.window, first = at, found, 0
        return self.window[first : first + size]

    def _check(self, block: bytes, at: int) -> None:
        if len(block) == BLOCK and (block[257:262] == b"ustar" or number(block[148:156]) == checksum(block)):
            return
        if not at:
            raise DataError(f"{self.file.path} is no tar archive: give data.root= of one.")
        why = "truncated" if len(block) < BLOCK else f"damaged at byte {at:,}"
        raise DataError(f"{self.file.path} is {why}: copy or download it again.")

    def _refuse_sparse(self, sparse: bool, name: str) -> None:
        if sparse:
            raise DataError(f"{self.file.path}/{name} is stored with holes: pack it again without --sparse.")


def name_in(block: bytes) -> str:
    """Return the name in a header, with the prefix of ustar."""
    name = block[:100].partition(b"\0")[0]
    if block[257:263] == b"ustar\0" and block[345] and (prefix := block[345:500].partition(b"\0")[0]):
        name = prefix + b"/" + name
    return text_of(name)


def text_of(name: bytes) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("latin-1")


def number(field: bytes) -> int:
    """Return an octal number, or one of GNU's in base 256; -1 if it is neither."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:])
    try:
        return int(field.partition(b"\0")[0].strip() or b"0", 8)
    except ValueError:
        return -1


def checksum(block: bytes) -> int:
    return sum(block) - sum(block[148:156]) + 8 * ord(" ")


def records(content: bytes) -> dict[str, str]:
    """Return the values of a pax header: lines of a length, a key and a value."""
    found, at = {}, 0
    while at < len(content):
        length, _, _ = content[at:].partition(b" ")
        if not length.isdigit() or not int(length):
            break
        key, _, value = content[at + len(length) + 1 : at + int(length) - 1].partition(b"=")
        found[text_of(key)] = text_of(value)
        at += int(length)
    return found
