"""Images that belong to no dataset: a folder of files or an npz archive of any program, in their own size."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mezzotint.data.folder import FolderImages, listed, threaded
from mezzotint.data.images import Images, InMemory
from mezzotint.data.npz import IMAGES, Archive
from mezzotint.data.picture import header
from mezzotint.errors import DataError

MEMORY = 1 << 30  # bytes; images that take no more are decoded once and kept
UNREAD = (".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2", ".avif", ".heic", ".jxl")  # images, which are not read


@dataclass(frozen=True)
class Loose:
    """Images of one shape, how they were stored and what was done to them since."""

    images: Images
    shape: tuple[int, int, int]
    format: str
    preprocessing: str = "none"


def open_loose(path: Path) -> Loose:
    """All images below a folder, in the order of their paths, or those of an npz archive; without labels.

    A folder is grey where all its files are, and RGB otherwise.

    Raises:
        DataError: there is nothing there, a file is damaged or of a kind that is not read, or sizes differ.
    """
    if path.is_dir():
        return open_folder(path)
    if path.suffix.lower() == ".npz":
        return open_archive(path)
    raise DataError(
        f"{path} is neither a folder of images nor an .npz archive of arrays. A pickle is a program and is not read"
        if path.exists()
        else f"there is no {path}: give a folder of images, or an .npz archive"
    )


def open_folder(root: Path) -> Loose:
    files = tuple(entry.file for entry in listed(root, "Give a folder of images."))
    unread = next((f for f in root.rglob("[!.]*") if f.suffix.lower() in UNREAD), None)
    if unread is not None:
        raise DataError(
            f"{unread} would be left out, for PNG, JPEG and WebP are read, and what remains is not the folder. Convert "
            "it, or take it out"
        )
    headers: dict[Path, tuple[int, int, int]] = {}

    def look(file: Path) -> None:
        headers[file] = header(file)

    threaded(look, files)
    _, *size = headers[files[0]]
    other = next((file for file in files if headers[file][1:] != tuple(size)), None)
    if other is not None:
        raise DataError(
            f"the images in {root} are not of one size: {files[0].name} is {size[0]} x {size[1]}, {other.name} "
            f"{headers[other][1]} x {headers[other][2]} (height x width). Resize them first: how is part of the result"
        )
    shape = (max(found[0] for found in headers.values()), size[0], size[1])
    endings = ", ".join(sorted({file.suffix.lower().removeprefix(".").replace("jpeg", "jpg") for file in files}))
    folder = FolderImages(files, shape)
    small = len(files) * shape[0] * shape[1] * shape[2] <= MEMORY
    return Loose(folder.loaded() if small else folder, shape, endings, "upright, on white, in their own size")


def open_archive(path: Path) -> Loose:
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
    return Loose(InMemory(tensor), tuple(tensor.shape[1:]), "npz")  # type: ignore[arg-type]
