"""External images for evaluation: a folder of image files or an npz archive from any program, in their own size."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mezzotint.data.image_files.image_set import examined, headers
from mezzotint.data.image_files.listing import listed, refuse_unread
from mezzotint.data.image_set import ImageSource, TensorImages
from mezzotint.data.sources.npz import IMAGES, Archive
from mezzotint.errors import DataError

MEMORY = 1 << 30  # bytes; images up to this size are decoded once and cached


@dataclass(frozen=True)
class ExternalImages:
    """Images of one shape, their file format and their preprocessing."""

    images: ImageSource
    shape: tuple[int, int, int]
    format: str
    preprocessing: str = "none"


def open_external(path: Path) -> ExternalImages:
    """Return all images below a folder, in the order of their paths, or those of an npz archive; without labels.

    A folder is read as grey if all its files are, and as RGB otherwise.

    Raises:
        DataError: the path is missing, a file is damaged or of an unsupported format, or sizes differ.
    """
    if path.is_dir():
        return open_folder(path)
    if path.suffix.lower() == ".npz":
        return open_archive(path)
    raise DataError(
        f"{path} is neither a folder of images nor an .npz archive of arrays. A pickle is a program and is not read"
        if path.exists()
        else f"{path} does not exist: give a folder of images, or an .npz archive"
    )


def open_folder(root: Path) -> ExternalImages:
    listing = listed(root, "Give a folder of images.")
    refuse_unread([listing], "remove it, since the rest is another set of images")
    files = tuple(entry.file for entry in listing.entries)
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
    return ExternalImages(whole.images(files), shape, endings, "upright, on white, in their own size")


def open_archive(path: Path) -> ExternalImages:
    archive = Archive(path, "give an .npz archive.")
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
    return ExternalImages(TensorImages(tensor), (channels, height, width), "npz")
