"""External examples for evaluation, from any program: a folder of images, an npz archive of images, or an array."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mezzotint.data.arrays.files import READERS, open_array
from mezzotint.data.codecs.base import Codec
from mezzotint.data.codecs.pixels import PixelCodec
from mezzotint.data.image_files.formats import SUFFIXES
from mezzotint.data.image_files.image_set import examined, headers
from mezzotint.data.image_files.listing import listed, refuse_unread
from mezzotint.data.image_set import ImageSource, TensorImages
from mezzotint.data.sources.array import ArrayFile
from mezzotint.data.sources.npz import IMAGES, Archive
from mezzotint.errors import DataError

DATA = "data"  # the array of a file of several, as `sample` writes them
MEMORY = 1 << 30  # bytes; images up to this size are decoded once and cached


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
    """Return all images below a folder, in the order of their paths, or the examples of a file; without labels.

    A folder is read as grey if all its files are, and as RGB otherwise. A file holds uint8 images (N, H, W, C) in an
    npz archive, or else an array (N, C, *size) of any kind.

    Raises:
        DataError: the path is missing, a file is damaged or of an unsupported format, or sizes differ.
    """
    if path.is_dir():
        return open_folder(path)
    suffix = path.suffix.lower()
    if suffix == ".npz" and path.is_file():
        archive = Archive(path, "give an .npz archive.")
        return open_archive(archive) if holds_images(archive) else open_data(path, archive.names())
    if suffix in READERS:
        return open_data(path, [])
    raise DataError(
        f"{path} is neither a folder of images nor a .npz, .npy or .safetensors file. A pickle is a program and is not "
        "read"
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


def open_files(root: Path, files: tuple[Path, ...]) -> ExternalImages:
    """Return the images of files below a folder. Raises DataError: one is damaged, or sizes differ."""
    shapes = headers(files)
    _, *size = shapes[0]
    other = next((i for i, found in enumerate(shapes) if found[1:] != tuple(size)), None)
    if other is not None:
        raise DataError(
            f"the images in {root} are not of one size: {files[0].name} is {size[0]} x {size[1]}, {files[other].name} "
            f"{shapes[other][1]} x {shapes[other][2]} (height x width). Resize them first: how is part of the result"
        )
    shape = (max(found[0] for found in shapes), size[0], size[1])
    endings = ", ".join(sorted({file.suffix.lower().removeprefix(".").replace("jpeg", "jpg") for file in files}))
    whole = examined(files, shape, enlarge=False, keep=len(files) * shape[0] * shape[1] * shape[2] <= MEMORY)
    whole.refuse_bad()
    done = "upright, on white, in their own size"
    return ExternalImages(whole.images(files), shape, endings, done, names=names(root, files))


def names(root: Path, files: tuple[Path, ...]) -> tuple[str, ...]:
    """Return the paths of files below a folder, without their endings unless two files would share a name."""
    below = [file.relative_to(root) for file in files]
    short = tuple(path.with_suffix("").as_posix() for path in below)
    return short if len(set(short)) == len(short) else tuple(path.as_posix() for path in below)


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
