"""Remote containers through fsspec: each file is downloaded once to a cache, checked by size and hash."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from mezzotint.atomic import atomic_path, remove_partials, sync, write_text
from mezzotint.data.containers.kinds import ENDINGS, expanded
from mezzotint.data.image_files.image_set import note_once
from mezzotint.data.locks import download_lock
from mezzotint.errors import ConfigError, DataError
from mezzotint.progress import Advance, bar

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
UNSAFE = re.compile(r"[^A-Za-z0-9._=-]+")
CHUNK = 1 << 20
COMPLETE = ".complete"  # written when all files are there; it holds the name of a single one
SUMS = "SHA256SUMS"  # a file beside the others, as `sha256sum *` writes it
VERSIONS = ("ETag", "etag", "checksum", "md5Hash", "LastModified", "last_modified", "mtime", "created")  # of a file


@dataclass(frozen=True)
class Copied:
    """A downloaded file: its size and SHA-256, and what its server called the version."""

    size: int
    sha256: str
    version: str


class Unreachable(DataError):
    """Files that cannot be read from where they are."""


def is_remote(root: str) -> bool:
    return URL.match(root) is not None


def fetch(root: str, wanted: str, cache: Path) -> Path:
    """Download the files of a URL that are not in the cache yet, and return the file, or the folder of several.

    One process downloads and the others wait. A download that was stopped goes on after its last complete file.
    Where the server does not answer, the files in the cache are used.

    Args:
        root: the URL of a file, of a folder, or a pattern such as https://host/a-{00..11}.tar.
        wanted: zip, tar, parquet or lmdb.
        cache: the folder of downloads.

    Raises:
        DataError: there is no such file, it cannot be read, or what arrives is damaged.
    """
    folder = folder_of(root, cache)
    with download_lock(cache):
        folder.mkdir(parents=True, exist_ok=True)
        remove_partials(folder)
        try:
            with as_data_errors(root):
                system, files = listed(root, wanted)
                download(system, files, folder, hashes(system, files))
        except Unreachable as error:
            if not (folder / COMPLETE).is_file():
                raise
            note_once(f"data: {error} The files that were downloaded before are used.")
        return Path(folder, *(folder / COMPLETE).read_text(encoding="utf-8").splitlines())


def folder_of(root: str, cache: Path) -> Path:
    """Return the folder of a cache that the files of a URL are downloaded to."""
    return cache / "remote" / hashlib.sha256(root.encode()).hexdigest()[:24]


def listed(root: str, wanted: str) -> "tuple[AbstractFileSystem, dict[str, str]]":
    """Return the file system of a URL, and the path of each file by its local name."""
    from fsspec.core import url_to_fs

    if "::" in root:
        raise ConfigError(f"data.root={root}: chained URLs are not read; give the URL of the files themselves.")
    system, path = url_to_fs(root)
    found = [file for pattern in expanded(path) for file in matching(system, pattern, wanted)]
    if not found:
        raise FileNotFoundError(f"no {' or '.join(ENDINGS[wanted])} file there")
    top = PurePosixPath(path) if "{" not in path and "*" not in path else common(found)
    return system, {local_name(PurePosixPath(file), top): file for file in found}


def matching(system: "AbstractFileSystem", pattern: str, wanted: str) -> list[str]:
    if "*" in pattern or "?" in pattern.partition("://")[2]:
        return sorted(map(str, system.glob(pattern)))
    if pattern.lower().endswith(ENDINGS[wanted]) or not system.isdir(pattern):
        system.info(pattern)  # raises an error if it is not there
        return [pattern]
    return sorted(file for file in map(str, system.find(pattern)) if file.lower().endswith(ENDINGS[wanted]))


def common(files: list[str]) -> PurePosixPath:
    """Return the folder that contains all files."""
    first, *others = (PurePosixPath(file).parent for file in files)
    return next(folder for folder in (first, *first.parents) if all(other.is_relative_to(folder) for other in others))


def local_name(file: PurePosixPath, top: PurePosixPath) -> str:
    """Return the path of a download below its folder: only plain characters, and never a way out."""
    below = file.relative_to(top) if file != top and file.is_relative_to(top) else PurePosixPath(file.name)
    parts = [UNSAFE.sub("_", part.partition("?")[0]).lstrip(".") or "_" for part in below.parts]
    return "/".join(parts)


def hashes(system: "AbstractFileSystem", files: Mapping[str, str]) -> dict[str, str]:
    """Return the SHA-256 of files by their names, from the list beside them; empty without one."""
    found: dict[str, str] = {}
    for folder in {file.rpartition("/")[0] for file in files.values()}:
        try:
            text = str(system.read_text(f"{folder}/{SUMS}", encoding="utf-8", errors="replace"))
        except OSError:
            continue
        for line in text.splitlines():
            digest, _, name = line.partition(" ")
            if re.fullmatch(r"[0-9a-f]{64}", digest):
                found[f"{folder}/{name.strip().lstrip('*').removeprefix('./')}"] = digest
    return found


def download(system: "AbstractFileSystem", files: Mapping[str, str], folder: Path, sums: Mapping[str, str]) -> None:
    """Download the files that are not in a folder yet, or have changed, and remove others."""
    abouts = {name: system.info(file) for name, file in files.items()}
    missing = [name for name in files if not is_current(folder / name, abouts[name], sums.get(files[name]))]
    if missing:
        (folder / COMPLETE).unlink(missing_ok=True)
    for left in (file for file in folder.rglob("*") if file.is_file()):
        if left.relative_to(folder).as_posix().removesuffix(".json") not in (*files, COMPLETE):
            left.unlink()
    total = sum(abouts[name].get("size") or 0 for name in missing)
    with bar(f"downloading {len(missing)} file(s) to {folder}, bytes", total) as advance:
        for name in missing:
            with system.open(files[name], "rb") as source:
                copy(source, folder / name, abouts[name], sums.get(files[name]), advance)
    write_text(folder / COMPLETE, next(iter(files)) if len(files) == 1 else "")


def copy(source: Any, target: Path, about: Mapping[str, Any], expected: str | None, advance: Advance) -> None:
    """Copy a file atomically. Raises DataError: it ends early, or its hash is another one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    hashed, size = hashlib.sha256(), 0
    with atomic_path(target) as part:
        with part.open("wb") as written:
            while content := source.read(CHUNK):
                written.write(content)
                hashed.update(content)
                size += len(content)
                advance(len(content))
            sync(written)
        stated = about.get("size")
        if stated is not None and size != stated:
            raise DataError(f"{target.name} ended after {size:,} of {stated:,} bytes: try again.")
        if expected is not None and hashed.hexdigest() != expected:
            raise DataError(f"{target.name} is damaged: its SHA-256 is not the one in {SUMS}. Try again.")
    made = Copied(size, hashed.hexdigest(), version(about))
    write_text(beside(target), json.dumps(asdict(made)))


def is_current(file: Path, about: Mapping[str, Any], expected: str | None) -> bool:
    """Return whether a file has been downloaded and its server still has this version."""
    try:
        made = Copied(**json.loads(beside(file).read_text(encoding="utf-8")))
        there = file.stat().st_size
    except (OSError, ValueError, TypeError):
        return False
    same = made.size == there and about.get("size") in (None, made.size) and made.version == version(about)
    return same and expected in (None, made.sha256)


def beside(file: Path) -> Path:
    return file.with_name(f"{file.name}.json")


def version(about: Mapping[str, Any]) -> str:
    """Return what a file system says of the version of a file."""
    return ", ".join(f"{name} {about[name]}" for name in VERSIONS if name in about)


@contextmanager
def as_data_errors(root: str) -> Iterator[None]:
    """Turn the errors of file systems into one line; those of a missing package say which one."""
    try:
        yield
    except (DataError, ConfigError):
        raise
    except ImportError as error:
        raise ConfigError(f"data.root={root} needs another package: {error}") from error
    except Exception as error:  # every file system has errors of its own
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise Unreachable(f"{root} cannot be read ({said}): give data.root= of files that are there.") from error
