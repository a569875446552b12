"""Files at data.root= and their kinds: one of another kind than the chosen one is refused with the right choice."""

import re
from collections.abc import Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path

from mezzotint.data.image_files.class_folders import TEST_NAMES, TRAIN_NAMES, few, part_name
from mezzotint.errors import DataError

COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "Zstandard"}
STARTS = {b"PK\3\4": "zip", b"PK\5\6": "zip", b"PAR1": "parquet", b"ARROW1": "parquet"}
ENDINGS = {"zip": (".zip",), "tar": (".tar",), "parquet": (".parquet", ".arrow"), "lmdb": (".mdb", ".lmdb")}
BRACES = re.compile(r"\{([^{}]*)\}")
SPLIT_OF_FILE = re.compile(rf"^({'|'.join((*TRAIN_NAMES, *TEST_NAMES))})(?![a-z])", re.IGNORECASE)


def kind_of(path: Path) -> str:
    """Return zip, tar, parquet or lmdb, the packing of a compressed file, or folder; empty for anything else.

    Only regular files are opened.
    """
    if path.is_dir():
        return "lmdb" if (path / "data.mdb").is_file() else "folder"
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        head = file.read(512)
    for begin, kind in (*STARTS.items(), *COMPRESSED.items()):
        if head.startswith(begin):
            return kind
    if head[257:262] == b"ustar":
        return "tar"
    return "lmdb" if head[16:20] in (b"\xde\xc0\xef\xbe", b"\xbe\xef\xc0\xde") else ""


def check_kind(path: Path, wanted: str) -> None:
    """Raise DataError if a file or folder is certainly of another kind than `wanted`."""
    found = kind_of(path)
    if found in COMPRESSED.values():
        raise DataError(
            f"{path} is packed by {found}, which cannot be read by position: unpack it once, and give the .tar in it."
        )
    if found == "folder" and wanted == "lmdb":
        raise DataError(f"{path} is a folder without data.mdb: give data.root= of an LMDB store.")
    if found not in ("", "folder", wanted):
        raise DataError(f"{path} is not of data={wanted}: use data={found}.")


def files_at(root: str, wanted: str) -> tuple[Path, ...]:
    """Return the files that data.root= names: one, those of a folder, or those of a pattern such as a-{00..11}.tar.

    Raises:
        DataError: there are none, or one is of another kind.
    """
    path = Path(root).expanduser()
    if path.is_dir():
        check_kind(path, wanted)
        found = tuple(sorted(file for file in path.rglob("*") if fits(file, wanted)))
        if not found:
            names = sorted(item.name for item in path.iterdir())
            images = " A folder of images is data=image_folder." if wanted != "parquet" else ""
            raise DataError(
                f"{root} has no {' or '.join(ENDINGS[wanted])} file in it, but {few(names) or 'nothing'}: give "
                f"data.root= of one, or of their folder.{images}"
            )
    elif path.exists():
        found = (path,)
    else:
        found = tuple(sorted({Path(file) for pattern in expanded(str(path)) for file in matches(pattern)}))
    if not found:
        raise DataError(f"{root} does not exist: give data.root= of a {wanted} file, a folder of them, or a pattern.")
    for file in found:
        if not file.is_file() and not file.is_dir():
            raise DataError(f"{file} is neither a file nor a folder: give data.root= of a {wanted} file.")
        check_kind(file, wanted)
    return found


def fits(file: Path, wanted: str) -> bool:
    hidden = file.name.startswith((".", "cache-")) if wanted == "parquet" else file.name.startswith(".")
    return not hidden and file.name.lower().endswith(ENDINGS[wanted]) and file.is_file()


def expanded(pattern: str) -> Iterator[str]:
    """Yield what braces stand for, as in a shell: {000..146} counts and {a,b} lists."""
    if not (found := BRACES.search(pattern)):
        yield pattern
        return
    first, dots, last = found[1].partition("..")
    if dots and first.isdecimal() and last.isdecimal():
        width = len(first) if first.startswith("0") else 0
        words: Sequence[str] = [f"{number:0{width}d}" for number in range(int(first), int(last) + 1)]
    else:
        words = found[1].split(",")
    for word in words:
        yield from expanded(pattern[: found.start()] + word + pattern[found.end() :])


def matches(pattern: str) -> list[str]:
    """Return the files of a pattern. Raises DataError: it names one file, which is missing."""
    if has_magic(pattern):
        return glob(pattern, recursive=True)
    if not Path(pattern).exists():
        raise DataError(f"{pattern} does not exist: give data.root= of the files that are there.")
    return [pattern]


def prefixes(paths: Sequence[Path], root: Path) -> tuple[str, ...]:
    """Return for each file the folder of its split, such as train/; nothing if the files have no splits.

    Files tell their split by their names, such as train-00000.tar or validation-00000-of-00002.parquet, or by a folder
    that they are in, below the root.
    """
    named = [split_of(path, root) for path in paths]
    divided = any(part_name(name) in TRAIN_NAMES for name in named) and len(set(named)) > 1
    return tuple(f"{name}/" if divided and name else "" for name in named)


def split_of(path: Path, root: Path) -> str:
    """Return the split that a file belongs to, by its name or a folder below the root; empty without."""
    below = path.relative_to(root).parts[:-1] if path.is_relative_to(root) else ()
    folder = next((name for name in below if part_name(name) in TRAIN_NAMES + TEST_NAMES), "")
    found = SPLIT_OF_FILE.match(path.name)
    return folder or (found[1].lower() if found else "")
