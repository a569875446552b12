"""Conversion of a dataset to one file of prepared images: uint8 in an .npy file, or PNGs in a zip archive.

Images are decoded once, cropped and resized as the dataset says, and read back without a decoder or without a crop.
A file that describes the conversion lies beside the images. A killed conversion goes on where it stopped.
"""

import io
import json
import os
import shutil
import zipfile
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy
from PIL import Image

from mezzotint.atomic import sync, write_text
from mezzotint.data.dataset import Dataset
from mezzotint.data.image_files.class_folders import LABELS
from mezzotint.data.image_files.image_set import THREADS
from mezzotint.data.image_set import ImageSource, labels_of
from mezzotint.errors import DataError
from mezzotint.progress import Advance

FORMAT = 1
BLOCK = 64  # images that a thread decodes at a time


@dataclass(frozen=True)
class Conversion:
    """The description of prepared images.

    Args:
        digest: of the images that were converted.
        count: their number.
        shape: (C, H, W) of each.
        recipe: how they were cropped and resized, `Dataset.preprocessing`.
        classes: their number; 0 without labels.
        names: of the classes, in the order of their labels.
        format: version of the recipe's meaning and of this description.
    """

    digest: str
    count: int
    shape: tuple[int, int, int]
    recipe: str
    classes: int
    names: tuple[str, ...]
    format: int = FORMAT

    @classmethod
    def of(cls, dataset: Dataset, images: ImageSource) -> "Conversion":
        """Return the description. Raises DataError: the examples are not images of uint8."""
        shape = tuple(dataset.shape)
        if len(shape) != 3 or shape[0] not in (1, 3) or images.batch(torch.arange(1))[0].dtype != torch.uint8:
            raise DataError(
                f"out= converts grey and RGB images of 8 bits, and the examples of {dataset.name()} are others."
            )
        names = tuple(dataset.class_names())
        return cls(images.digest(), len(images), shape, dataset.preprocessing(), dataset.classes, names)

    def text(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"


class Output(ABC):
    """A file of prepared images that grows in a folder beside it until it is complete."""

    def __init__(self, file: Path, about: Conversion) -> None:
        self.file, self.about = file, about
        self.folder = file.with_name(f".{file.name}.parts")

    @property
    def growing(self) -> Path:
        return self.folder / f"new{self.file.suffix}"

    @abstractmethod
    def done(self) -> int:
        """Return the number of images that a killed conversion wrote, and cut off what it wrote of the next one."""

    @abstractmethod
    def append(self, first: int, pixels: np.ndarray) -> None:
        """Write images (n, C, H, W), of which the first has this number."""

    @abstractmethod
    def finish(self, labels: np.ndarray | None) -> None:
        """Write what belongs to all images."""


class NpyOutput(Output):
    """images.npy (N, C, H, W), images-labels.npy (N,) and images.json."""

    def header(self) -> bytes:
        made = io.BytesIO()
        shape = (self.about.count, *self.about.shape)
        npy.write_array_header_1_0(made, {"descr": "|u1", "fortran_order": False, "shape": shape})
        return made.getvalue()

    def done(self) -> int:
        header, each = self.header(), int(np.prod(self.about.shape))
        if not self.growing.exists():
            self.growing.write_bytes(header)
        count = max(0, self.growing.stat().st_size - len(header)) // each
        os.truncate(self.growing, len(header) + count * each)
        if self.growing.stat().st_size == len(header):
            self.growing.write_bytes(header)
        return count

    def append(self, first: int, pixels: np.ndarray) -> None:
        with self.growing.open("ab") as file:
            file.write(np.ascontiguousarray(pixels).data)

    def finish(self, labels: np.ndarray | None) -> None:
        with self.growing.open("rb+") as file:
            sync(file)
        if labels is not None:
            np.save(self.folder / "labels.npy", labels)
            os.replace(self.folder / "labels.npy", self.file.with_name(f"{self.file.stem}-labels.npy"))
        write_text(self.file.with_suffix(".json"), self.about.text())


class ZipOutput(Output):
    """PNGs without compression of the archive, in folders of ten thousand, and the labels in dataset.json, as EDM's."""

    def name(self, number: int) -> str:
        return f"{number // 10_000:05d}/img{number:08d}.png"

    def done(self) -> int:
        part = self.folder / "part"
        blocks = sorted(self.folder.glob("[0-9]*.zip"))
        part.unlink(missing_ok=True)
        return sum(len(zipfile.ZipFile(block).namelist()) for block in blocks)

    def append(self, first: int, pixels: np.ndarray) -> None:
        with zipfile.ZipFile(self.folder / "part", "w") as archive:
            for i, image in enumerate(pixels):
                archive.writestr(entry(self.name(first + i)), png(image))
        os.replace(self.folder / "part", self.folder / f"{first:012d}.zip")

    def finish(self, labels: np.ndarray | None) -> None:
        with zipfile.ZipFile(self.growing, "w") as archive:
            for block in sorted(self.folder.glob("[0-9]*.zip")):
                with zipfile.ZipFile(block) as source:
                    for member in source.infolist():
                        archive.writestr(entry(member.filename), source.read(member))
            pairs = None if labels is None else [[self.name(i), int(label)] for i, label in enumerate(labels)]
            archive.writestr(entry(LABELS), json.dumps({"labels": pairs, "conversion": asdict(self.about)}))
        with self.growing.open("rb+") as file:
            sync(file)


OUTPUTS = {".npy": NpyOutput, ".zip": ZipOutput}


def entry(name: str) -> zipfile.ZipInfo:
    """Return a member without a time of its own, so that the same images make the same archive."""
    return zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))


def png(pixels: np.ndarray) -> bytes:
    """Return a PNG of an image (C, H, W) whose pixels are stored without compression."""
    made = io.BytesIO()
    Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).save(made, "PNG", compress_level=0)
    return made.getvalue()


def convert(dataset: Dataset, images: ImageSource, file: Path, advance: Advance = lambda count: None) -> Conversion:
    """Write the images of a dataset to a file.

    Args:
        file: .npy or .zip.
        advance: called with the number of images that are done.

    Raises:
        DataError: an image cannot be decoded, or they are no images.
    """
    about = Conversion.of(dataset, images)
    made = OUTPUTS[file.suffix.lower()](file, about)
    begun = made.folder / "conversion.json"
    if begun.exists() and begun.read_text(encoding="utf-8") != about.text():
        shutil.rmtree(made.folder)  # of other images
    if not begun.exists():
        made.folder.mkdir(parents=True, exist_ok=True)
        write_text(begun, about.text())
    first = made.done()
    advance(first)
    for pixels in decoded(images, first):
        made.append(first, pixels)
        first += len(pixels)
        advance(len(pixels))
    labels = labels_of(images) if dataset.classes else None
    made.finish(None if labels is None else labels.numpy())
    os.replace(made.growing, file)
    shutil.rmtree(made.folder)
    return about


def decoded(images: ImageSource, first: int) -> Iterator[np.ndarray]:
    """Yield the images from a number on in order, a block at a time, decoded in threads a few blocks ahead."""
    waiting: deque[Future[np.ndarray]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(first, len(images), BLOCK):
            indices = torch.arange(start, min(start + BLOCK, len(images)))
            waiting.append(pool.submit(lambda indices=indices: images.batch(indices)[0].numpy()))
            if len(waiting) > 2 * THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
