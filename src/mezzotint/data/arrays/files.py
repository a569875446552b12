"""Arrays in .npy, .npz and .safetensors files, found by their headers; pickled arrays are refused."""

import json
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from mezzotint.data.arrays.stored import FileRows, MemoryRows, Rows
from mezzotint.errors import DataError
from mezzotint.instantiate.locate import did_you_mean

LONGEST = 100 << 20  # bytes of a safetensors header, the limit of its own library
LOCAL = 30  # bytes of a zip entry's header before its name
SAFETENSORS = {"F32": "<f4", "F16": "<f2", "U8": "|u1", "U16": "<u2", "I16": "<i2", "I32": "<i4", "I64": "<i8"}


def open_array(file: Path, member: str | None = None) -> Rows:
    """Return the array of a file: that of this name, or the only one.

    Raises:
        DataError: the file is missing, damaged or truncated, has no such array, or holds Python objects.
    """
    if not file.exists():
        raise DataError(f"{file} does not exist: give data.root=FILE with a .npy, .npz or .safetensors file.")
    reader = READERS.get(file.suffix.lower())
    if reader is None or not file.is_file():
        raise DataError(f"{file} is no .npy, .npz or .safetensors file: save the array as one of these.")
    with readable(file):
        return reader(file, member)


@contextmanager
def readable(file: Path) -> Iterator[None]:
    """Turn what a damaged file raises into a DataError that names it."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # damaged archives can raise any exception
        said = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{file} is no readable {file.suffix} file ({said}): write it again.") from error


def located(file: Path, offset: int, stored: np.dtype, shape: tuple[int, ...], end: int) -> Rows:
    """Return the rows of an array whose numbers must end at `end` bytes or before."""
    wanted = math.prod(shape) * stored.itemsize
    if offset + wanted > end:
        raise DataError(
            f"{file} is truncated: its header announces {stored.name} {list(shape)}, {wanted:,} bytes, and "
            f"{max(0, end - offset):,} are there. Copy it again."
        )
    return FileRows(file, offset, stored.str, shape)


def header(opened: IO[bytes], file: Path) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the header of a .npy file: shape, whether in Fortran order, type."""
    version = npy.read_magic(opened)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(opened)
    if dtype.hasobject:
        raise DataError(f"{file} holds Python objects, which are not read: save an array of numbers.")
    return shape, fortran, dtype


def of_npy(file: Path, member: str | None) -> Rows:
    if member is not None:
        raise DataError(f"data.member={member}: {file} is a .npy file, which holds one array without a name.")
    with file.open("rb") as opened:
        shape, fortran, dtype = header(opened, file)
        found = located(file, opened.tell(), dtype, shape, file.stat().st_size)
    return MemoryRows(np.load(file, allow_pickle=False)) if fortran else found


def of_npz(file: Path, member: str | None) -> Rows:
    with zipfile.ZipFile(file) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        name = chosen(file, names, member)
        entry = archive.getinfo(f"{name}.npy")
        with archive.open(entry) as opened:
            shape, fortran, dtype = header(opened, file)
            length = opened.tell()
        if fortran or entry.compress_type != zipfile.ZIP_STORED:
            with np.load(file, allow_pickle=False) as arrays:
                return MemoryRows(arrays[name])
    with file.open("rb") as opened:
        opened.seek(entry.header_offset)
        local = opened.read(LOCAL)
    start = (
        entry.header_offset + LOCAL + int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
    )
    end = min(start + entry.file_size, file.stat().st_size)
    return located(file, start + length, dtype, shape, end)


def of_safetensors(file: Path, member: str | None) -> Rows:
    size = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if length > min(LONGEST, size):
            raise DataError(f"{file} is truncated, or no safetensors file: copy it again.")
        entries: Mapping[str, dict] = json.loads(opened.read(length))
    name = chosen(file, [name for name in entries if name != "__metadata__"], member)
    kind, shape, (start, end) = (entries[name][key] for key in ("dtype", "shape", "data_offsets"))
    if kind not in SAFETENSORS:
        raise DataError(f"{file}: {name} is {kind}; store it as F32, F16, U8, U16 or I16.")
    return located(file, 8 + length + start, np.dtype(SAFETENSORS[kind]), tuple(shape), min(8 + length + end, size))


def chosen(file: Path, names: list[str], member: str | None) -> str:
    """Return the name of the array to read."""
    listed = ", ".join(names[:12]) or "none"
    if member is None and len(names) != 1:
        raise DataError(f"{file} holds {len(names)} arrays ({listed}): choose one, data.member=NAME.")
    if member is not None and member not in names:
        raise DataError(f"{file} has no array {member!r}{did_you_mean(member, names)} ({listed}).")
    return names[0] if member is None else member


READERS: dict[str, Callable[[Path, str | None], Rows]] = {
    ".npy": of_npy,
    ".npz": of_npz,
    ".safetensors": of_safetensors,
}
