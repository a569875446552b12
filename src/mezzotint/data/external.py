"""External examples for evaluation, from any program: a folder or container of images, an npz archive, or an array."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import numpy as np
import torch

from mezzotint.data.arrays.files import READERS, open_array
from mezzotint.data.codecs.base import Codec
from mezzotint.data.codecs.pixels import PixelCodec
from mezzotint.data.containers.kinds import kind_of
from mezzotint.data.image_files.formats import SUFFIXES
from mezzotint.data.image_files.image_set import examined, headers
from mezzotint.data.image_files.listing import listed, refuse_unread
from mezzotint.data.image_set import ImageSource, TensorImages
from mezzotint.data.sources.array import ArrayFile
from mezzotint.data.sources.containers import ContainerDataset, LMDBImages, ParquetImages, TarImages, ZipImages
from mezzotint.data.sources.npz import IMAGES, Archive
from mezzotint.errors import DataError

DATA = "data"  # the array of a file of several, as `sample` writes them
MEMORY = 1 << 30  # bytes; images up to this size are decoded once and cached
OWN_SIZE = "upright, on white, in their own size"
CONTAINERS = {kind.kind: kind for kind in (ZipImages, TarImages, ParquetImages, LMDBImages)}


@dataclass(frozen=True)
class ExternalImages:
    """Examples of one shape (C, *size), such as images, with their file format, their preprocessing and their codec.

    Args:
        names: of images: paths below the folder without their endings where that tells them apart, or numbers.
    """

    images: ImageSource
    shape: tuple[int, ...]
    format: str
    preprocessing: str = "none"
    codec: Codec = PixelCodec()
    names: tuple[str, ...] = ()


def open_external(path: Path) -> ExternalImages:
    """Return all images of a folder or container, in the order of their paths, or those of a file; without labels.

    Images are read as grey if all of them are, and as RGB otherwise. Containers are zip, tar, parquet and LMDB. Other
    files hold uint8 images (N, H, W, C) in an npz archive, or else an array (N, C, *size) of any kind.

    Raises:
        DataError: the path is missing, a file is damaged or of an unsupported format, or sizes differ.
    """
    suffix = path.suffix.lower()
    kind = kind_of(path) if suffix != ".npz" else ""  # which is a zip of arrays
    if kind in CONTAINERS:
        return open_container(CONTAINERS[kind](root=str(path), shape=(3, 1, 1), enlarge=True, held_out=0.0))
    if path.is_dir():
        return open_folder(path)
    if suffix == ".npz" and path.is_file():
        archive = Archive(path, "give an .npz archive.")
        return open_archive(archive) if holds_images(archive) else open_data(path, archive.names())
    if suffix in READERS:
        return open_data(path, [])
    raise DataError(
        f"{path} is neither a folder of images nor a .npz, .npy, .safetensors, .zip, .tar, .parquet or LMDB file. A "
        "pickle is a program and is not read"
        if path.exists()
        else f"{path} does not exist: give a folder of images, or a file of arrays"
    )


def holds_images(archive: Archive) -> bool:
    """Return whether an archive holds images: `images`, or one array that looks like some."""
    names = archive.names()
    if "images" in names or DATA in names:
        return "images" in names
    if "arr_0" not in names and len(names) != 1:
        return True  # none can be chosen: refused
    stored = open_array(archive.file, "arr_0" if "arr_0" in names else names[0])
    colours = len(stored.shape) == 4 and stored.shape[-1] in (1, 3)  # of another type, they are refused
    return colours or (stored.dtype == np.uint8 and len(stored.shape) in (3, 4))


def open_data(path: Path, names: list[str]) -> ExternalImages:
    """Return the examples of an array (N, C, *size), with the mean and deviation of their channels as codec."""
    member = next((name for name in (DATA, "arr_0") if len(names) > 1 and name in names), None)
    data = ArrayFile(root=str(path), member=member, held_out=0.0)
    return ExternalImages(data.split("all"), data.array.shape[1:], path.suffix.lower()[1:], codec=data.default_codec())


def open_given(path: Path) -> ExternalImages:
    """Return the images of a folder, an npz archive or a single image file. Raises DataError as `open_external`."""
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        return open_files(path.parent, (path,))
    return open_external(path)


def open_folder(root: Path) -> ExternalImages:
    listing = listed(root, "Give a folder of images.")
    refuse_unread([listing], "remove it, since the rest is another set of images")
    return open_files(root, tuple(entry.file for entry in listing.entries))


def open_container(data: ContainerDataset) -> ExternalImages:
    """Return the images of a container. Raises DataError: it is damaged, or sizes differ."""
    table = data.contents().table
    shapes = table.shapes(np.arange(len(table)))
    names = list(table.names(np.arange(len(table))))
    shape = common_shape(Path(data.root), names, shapes)
    images = replace(data, shape=shape).split("all")
    return ExternalImages(images, shape, endings(names), OWN_SIZE, names=without_endings(names))


def open_files(root: Path, files: tuple[Path, ...]) -> ExternalImages:
    """Return the images of files below a folder. Raises DataError: one is damaged, or sizes differ."""
    below = [file.relative_to(root).as_posix() for file in files]
    shape = common_shape(root, below, np.array(headers(files)))
    whole = examined(files, shape, enlarge=False, keep=len(files) * shape[0] * shape[1] * shape[2] <= MEMORY)
    whole.refuse_bad()
    return ExternalImages(whole.images(files), shape, endings(below), OWN_SIZE, names=without_endings(below))


def common_shape(where: Path, names: list[str], shapes: np.ndarray) -> tuple[int, int, int]:
    """Return (C, H, W) of images of one size, from their own (n, 3), zeros for damaged ones, which are refused later.

    Raises:
        DataError: sizes differ.
    """
    usable = np.flatnonzero(shapes[:, 1])
    first = int(usable[0]) if len(usable) else 0
    channels, height, width = np.maximum(shapes.max(0), 1)[0], *np.maximum(shapes[first, 1:], 1).tolist()
    for i in usable[(shapes[usable, 1:] != shapes[first, 1:]).any(1)][:1].tolist():
        one, other = PurePath(names[first]).name, PurePath(names[i]).name
        raise DataError(
            f"the images in {where} are not of one size: {one} is {height} x {width}, {other} {shapes[i, 1]} x "
            f"{shapes[i, 2]} (height x width). Resize them first: how is part of the result"
        )
    return int(channels), height, width


def endings(names: Sequence[str]) -> str:
    """Return the endings of files, as the format of the images."""
    return ", ".join(sorted({PurePath(name).suffix.lower()[1:].replace("jpeg", "jpg") for name in names}))


def without_endings(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of files without their endings, unless two files would share a name."""
    short = tuple(PurePath(name).with_suffix("").as_posix() for name in names)
    return short if len(set(short)) == len(short) else tuple(names)


def open_archive(archive: Archive) -> ExternalImages:
    path = archive.file
    needed = "an array `images` or `arr_0` of uint8 (N, H, W, C) is needed"
    name = archive.choose(IMAGES)
    if name is None:
        raise DataError(f"{path} holds {', '.join(archive.names()) or 'nothing'}; {needed}")
    stored = archive.read(name)
    shape = list(stored.shape)
    if stored.dtype != np.uint8 or stored.ndim not in (3, 4) or not stored.size:
        raise DataError(f"{path} holds {name} ({stored.dtype} {shape}); {needed}")
    if stored.ndim == 3 and shape[-1] in (1, 3):
        raise DataError(f"{path} holds {name} {shape}: is that one image, or are they {shape[0]} grey ones? {needed}")
    pixels = stored[:, None] if stored.ndim == 3 else stored
    if pixels.shape[-1] in (1, 3):
        pixels = pixels.transpose(0, 3, 1, 2)
    if pixels.shape[1] not in (1, 3):
        raise DataError(f"the images of {path} have shape {shape}: store (N, H, W, C) with 1 or 3 channels")
    tensor = torch.from_numpy(np.require(pixels, requirements=["C", "W"]))
    _, channels, height, width = tensor.shape
    numbers = tuple(f"{i:06d}" for i in range(len(tensor)))
    return ExternalImages(TensorImages(tensor), (channels, height, width), "npz", names=numbers)
