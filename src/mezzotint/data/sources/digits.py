"""The digits dataset in scikit-learn: no download, and small enough to train on in minutes."""

import gzip
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np

from mezzotint.data.dataset import LabelledDataset
from mezzotint.data.split import split_indices
from mezzotint.errors import DataError

HELD_OUT = 297


@dataclass(frozen=True, kw_only=True)
class Digits(LabelledDataset):
    """1,797 handwritten digits, 8 x 8, grey; 1,500 for training and 297 held out, stratified by class.

    Stored values are 0 to 16; a pixel is round(255 * ink / 16).

    Source: Alpaydin and Kaynak 1998, https://archive.ics.uci.edu/dataset/80, as distributed with scikit-learn.
    """

    known_classes: ClassVar[int] = 10
    known_names: ClassVar[tuple[str, ...]] = tuple("0123456789")

    shape: tuple[int, int, int] = (1, 8, 8)
    classes: int = 10

    def preprocessing(self) -> str:
        return "ink of 0 to 16 as 0 to 255, rounded"

    def read(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        table = _table()
        ink, labels = table[:, :64], table[:, 64].astype(np.int64)
        chosen = split_indices(split, labels, HELD_OUT)
        pixels = np.rint(ink * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
        return pixels[chosen], labels[chosen]


@cache
def _table() -> np.ndarray:
    """Return (1797, 65): 64 pixels and the label. Reads the file directly: importing scikit-learn takes a second."""
    found = find_spec("sklearn")
    if found is None or found.origin is None:
        raise DataError("the digits come with scikit-learn, which is not installed: pip install scikit-learn")
    file = Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz"
    try:
        text = gzip.decompress(file.read_bytes()).decode()
        return np.array(text.replace("\n", ",").rstrip(",").split(","), dtype=np.float64).reshape(1797, 65)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{file} cannot be read ({error}): install scikit-learn again.") from error
