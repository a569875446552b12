"""MNIST and Fashion-MNIST, from the published IDX files."""

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from mezzotint.data.sources.published import PublishedDataset
from mezzotint.errors import DataError


@dataclass(frozen=True, kw_only=True)
class MNIST(PublishedDataset):
    """60,000 + 10,000 handwritten digits, 28 x 28, grey, 10 classes.

    Source: LeCun, Cortes and Burges 1998, http://yann.lecun.com/exdb/mnist
    """

    known_classes: ClassVar[int] = 10
    known_names: ClassVar[tuple[str, ...]] = tuple("0123456789")
    loader: ClassVar[str] = "MNIST"
    subfolders: ClassVar[tuple[str, ...]] = ("MNIST/raw",)
    packed: ClassVar[tuple[str, ...]] = ("*mnist*.csv", "*mnist*.zip", "train.csv", "archive.zip")

    shape: tuple[int, int, int] = (1, 28, 28)
    classes: int = 10

    def files(self, split: str) -> tuple[tuple[str, ...], ...]:
        part = "train" if split == "train" else "t10k"
        return tuple(spellings(f"{part}-{kind}") for kind in ("images-idx3", "labels-idx1"))

    def parse(self, files: list[Path]) -> tuple[np.ndarray, np.ndarray]:
        images, labels = (read_idx(file, rank) for file, rank in zip(files, (3, 1), strict=True))
        return images[:, None], labels


@dataclass(frozen=True, kw_only=True)
class FashionMNIST(MNIST):
    """60,000 + 10,000 pictures of clothes, 28 x 28, grey, 10 classes.

    Source: Xiao, Rasul and Vollgraf 2017, https://arxiv.org/abs/1708.07747
    """

    known_names: ClassVar[tuple[str, ...]] = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"
    )  # fmt: skip
    loader: ClassVar[str] = "FashionMNIST"
    subfolders: ClassVar[tuple[str, ...]] = ("FashionMNIST/raw",)
    system: ClassVar[tuple[str, ...]] = ("/usr/share/datasets/fashion-mnist",)
    hint: ClassVar[str] = ", or on Debian and Ubuntu run `apt install dataset-fashion-mnist`"


def spellings(name: str) -> tuple[str, ...]:
    """Return the names of a file: as published, compressed or not, and as on Kaggle."""
    plain = f"{name}-ubyte"
    dotted = plain.replace("-idx", ".idx")
    return plain, f"{plain}.gz", dotted, f"{dotted}.gz", f"{plain}/{plain}", f"{dotted}/{dotted}"


def read_idx(file: Path, rank: int) -> np.ndarray:
    """Read an IDX file of uint8: two zero bytes, type 8, the rank, sizes as big-endian int32, then the data.

    Raises:
        DataError: the file is truncated or not an IDX file.
    """
    try:
        content = file.read_bytes()
        content = gzip.decompress(content) if file.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file} cannot be read ({error}): download it again.") from error
    if content[:4] != bytes((0, 0, 8, rank)):
        raise DataError(f"{file} is not an IDX file of {rank}-dimensional uint8 data: download it again.")
    head, body = content[4 : 4 + 4 * rank], content[4 + 4 * rank :]
    sizes = [int.from_bytes(head[4 * i : 4 * i + 4], "big") for i in range(rank)]
    if len(head) < 4 * rank or len(body) != math.prod(sizes):
        raise DataError(f"{file} promises {sizes} bytes and holds {len(body)}: it is cut short, download it again.")
    return np.frombuffer(body, np.uint8).reshape(sizes)
