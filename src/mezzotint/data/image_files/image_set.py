"""Sets of image files, decoded or checked in threads once per process, with all errors reported together."""

import os
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mezzotint.data.image_files.crops import CENTRE, Crop
from mezzotint.data.image_files.decoder import (
    PictureError,
    TooSmall,
    decode,
    enlarging,
    examine,
    header,
    silence,
)
from mezzotint.data.image_files.formats import in_line
from mezzotint.data.image_files.on_access import OnAccess, digest_of_files, hashed
from mezzotint.data.image_set import TensorImages
from mezzotint.distributed import rank_and_world
from mezzotint.errors import DataError
from mezzotint.progress import bar

PORTION = 32  # files per task of a thread
THREADS = min(8, os.cpu_count() or 1)
State = tuple[str, int, int, int]
KEPT = 2  # cached sets: a dataset, and a folder that it is compared with


@dataclass(frozen=True, eq=False)
class FolderImages(OnAccess):
    """Image files that are decoded on access."""

    files: tuple[Path, ...]
    shape: tuple[int, int, int]
    labels: torch.Tensor | None = None
    enlarge: bool = False
    crop: Crop = CENTRE

    def __len__(self) -> int:
        return len(self.files)

    def decoded(self, number: int, crop: Crop) -> np.ndarray:
        return decode(self.files[number], self.shape, self.enlarge, crop)

    def digest(self) -> str:
        """Return the hash of the stored files: reading is much faster than decoding."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        return digest_of_files(
            len(self), self.shape, self.crop.recipe, self.labels, self.files, lambda: map(hashed, self.files)
        )

    def names_and_sizes(self) -> tuple[Iterable[str], Iterable[int]]:
        return map(str, self.files), (file.stat().st_size for file in self.files)


@dataclass(frozen=True, eq=False)
class Decoded(TensorImages):
    """Image files decoded into memory, with the digest of the files."""

    source: FolderImages = field(kw_only=True)

    @property
    def files(self) -> tuple[Path, ...]:
        return self.source.files

    @property
    def on_access(self) -> FolderImages:
        return self.source

    def digest(self) -> str:
        return self.source.digest()


@dataclass(frozen=True, eq=False)
class Examined:
    """Files that have been decoded or checked.

    Args:
        files: the files.
        shape: (C, H, W) of the decoded images.
        enlarge: whether small images are enlarged.
        crop: how they were cropped and resized.
        pixels: uint8 (N, C, H, W) in the order of the files; None if they are decoded on access.
        bad: errors by file.
    """

    files: tuple[Path, ...]
    shape: tuple[int, int, int]
    enlarge: bool
    crop: Crop
    pixels: torch.Tensor | None
    bad: dict[Path, PictureError]

    def images(self, files: Sequence[Path], labels: torch.Tensor | None = None) -> FolderImages | Decoded:
        """Return a subset of the valid files; consecutive files share memory with this set."""
        source = FolderImages(tuple(files), self.shape, labels, self.enlarge, self.crop)
        if self.pixels is None:
            return source
        first = self._number[files[0]]
        if source.files == self.files[first : first + len(files)]:
            return Decoded(self.pixels[first : first + len(files)], labels, source=source)
        rows = torch.tensor([self._number[file] for file in files])
        return Decoded(self.pixels[rows], labels, source=source)

    @cached_property
    def _number(self) -> dict[Path, int]:
        return {file: i for i, file in enumerate(self.files)}

    def refuse_bad(self, cure: str = "") -> None:
        """Raise DataError with all errors, if there are any; `cure` is an additional remedy."""
        refuse(sorted(self.bad.values(), key=lambda error: Path(str(error.file))), len(self.files), cure)


class SmallPictures(DataError):
    """Images that would have to be enlarged, possibly among other unusable files.

    Args:
        text: the message.
        smallest: the error that determines which shape fits all of them.
    """

    def __init__(self, text: str, smallest: TooSmall) -> None:
        super().__init__(text)
        self.smallest = smallest

    def suited(self, takes: Callable[[tuple[int, int, int]], bool]) -> DataError:
        """Return the error with the largest shape that a network supports, trying multiples of 1, 2, 3, ..."""
        channels, *sides = self.smallest.largest
        for divisor in range(1, min(*sides, 64) + 1):
            height, width = (side // divisor * divisor for side in sides)
            if takes((channels, height, width)):
                cure = enlarging((channels, height, width))
                return DataError(str(self).replace(self.smallest.cure, cure))
        return self


def refuse(errors: Sequence[PictureError], total: int, cure: str = "") -> None:
    """Raise DataError if there are errors among `total` images."""
    if not errors:
        return
    otherwise = f", or {cure}" if cure else ""
    small = [error for error in errors if isinstance(error, TooSmall)]
    if len(errors) == 1:
        said = f"{str(errors[0]).removesuffix('.')}{otherwise}."
    else:
        damaged = [error for error in errors if not isinstance(error, TooSmall)]
        groups = [f"{examples_of(damaged)}: {remedy_for(damaged)}"] if damaged else []
        groups += [f"{examples_of(small)}: {smallest(small).cure}"] if small else []
        said = f"{len(errors):,} of {total:,} pictures cannot be used. {'; '.join(groups)}{otherwise}."
    raise SmallPictures(said, smallest(small)) if small else DataError(said) from errors[0]


def examples_of(errors: Sequence[PictureError]) -> str:
    """Return the number of errors, the first file with its reason, and a few more names."""
    first, *more = errors
    names = "".join(f", {error.file.name}" for error in more[:3]) + (", ..." if len(more) > 3 else "")
    return f"{len(errors):,} such as {in_line(first.file)} ({first.reason}){names}"


def remedy_for(errors: Sequence[PictureError]) -> str:
    """Return the remedy for several errors, of which none is that of a small image."""
    cures = {error.cure for error in errors}
    return cures.pop() if len(cures) == 1 else "fix them, or remove them from the folder"


def smallest(errors: Sequence[TooSmall]) -> TooSmall:
    return min(errors, key=lambda error: error.largest)


_examined: OrderedDict[Any, Examined] = OrderedDict()


def examined(
    files: Iterable[Path], shape: tuple[int, int, int], enlarge: bool, keep: bool, crop: Crop = CENTRE
) -> Examined:
    """Decode files into memory (`keep`) or check each of them; cached per process while the files are unchanged."""
    files = tuple(files)
    key = (tuple(map(state, files)), shape, enlarge, keep, crop)
    if key in _examined:
        _examined.move_to_end(key)
    else:
        while len(_examined) >= KEPT:
            _examined.popitem(last=False)
        _examined[key] = examine_all(files, shape, enlarge, keep, crop)
    return _examined[key]


def state(file: Path) -> State:
    """Return name, inode, size and modification time, which identify the version of a file."""
    try:
        about = os.stat(file)
    except OSError:
        return str(file), 0, 0, 0
    return str(file), about.st_ino, about.st_size, about.st_mtime_ns


@lru_cache(KEPT)
def copies(first: tuple[State, ...], second: tuple[State, ...]) -> list[tuple[Path, Path]]:
    """Return pairs of files, one of the second part and one of the first, with identical bytes."""
    sizes = {size for _, _, size, _ in first} & {size for _, _, size, _ in second}
    known = {hashed(Path(name)): name for name, _, size, _ in first if size in sizes}
    found = ((known.get(hashed(Path(name))), name) for name, _, size, _ in second if size in sizes)
    return [(Path(b), Path(a)) for a, b in found if a is not None and a != b]


def examine_all(
    files: tuple[Path, ...], shape: tuple[int, int, int], enlarge: bool, keep: bool, crop: Crop
) -> Examined:
    pixels = np.zeros((len(files), *shape), np.uint8) if keep else None

    def work(i: int) -> None:
        if pixels is None:
            examine(files[i], shape, enlarge, crop)
        else:
            pixels[i] = decode(files[i], shape, enlarge, crop)

    bad = map_threaded(work, len(files), "decoding pictures" if keep else "looking at pictures")
    kept = None if pixels is None else torch.from_numpy(pixels)
    return Examined(files, shape, enlarge, crop, kept, {files[i]: error for i, error in bad.items()})


def headers(files: Sequence[Path]) -> list[tuple[int, int, int]]:
    """Return (channels, height, width) of each decoded file; raise DataError with all that are not images."""
    found = [(0, 0, 0)] * len(files)

    def work(i: int) -> None:
        found[i] = header(files[i])

    refuse(list(map_threaded(work, len(files), "looking at pictures").values()), len(files))
    return found


def map_threaded(work: Callable[[int], None], count: int, title: str) -> dict[int, PictureError]:
    """Call `work` for each number in threads (decoding releases the GIL); return the errors in order."""
    bad: dict[int, PictureError] = {}

    def portion(start: int) -> int:
        mine = range(count)[start : start + PORTION]
        for i in mine:
            try:
                work(i)
            except PictureError as error:
                bad[i] = error
        return len(mine)

    progress = bar(title, count) if rank_and_world()[0] == 0 else nullcontext(lambda done: None)
    with silence, ThreadPoolExecutor(THREADS) as pool, progress as advance:
        for done in pool.map(portion, range(0, count, PORTION)):
            advance(done)
    return {i: bad[i] for i in sorted(bad)}


_said: set[str] = set()


def note_once(remark: str) -> None:
    """Print a note to stderr, once and on rank 0 only."""
    if remark not in _said and rank_and_world()[0] == 0:
        _said.add(remark)
        print(remark, file=sys.stderr)
