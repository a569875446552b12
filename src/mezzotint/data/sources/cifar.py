"""CIFAR-10 and CIFAR-100, from the published Python or binary files."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mezzotint.data.sources.published import PublishedDataset
from mezzotint.errors import DataError

PIXELS = 3 * 32 * 32
FINE = tuple("""
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
    caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
    flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man
    maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree
    plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail
    snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout
    tulip turtle wardrobe whale willow_tree wolf woman worm
""".split())  # noqa: SIM905  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CIFAR10(PublishedDataset):
    """50,000 + 10,000 photographs, 32 x 32, RGB, 10 classes.

    Source: Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html
    """

    known_classes: ClassVar[int] = 10
    known_names: ClassVar[tuple[str, ...]] = (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
    )  # fmt: skip
    loader: ClassVar[str] = "CIFAR10"
    subfolders: ClassVar[tuple[str, ...]] = ("cifar-10-batches-py", "cifar-10-batches-bin")
    packed: ClassVar[tuple[str, ...]] = ("cifar-10-*.tar.gz", "cifar-10-*.tar", "cifar-10*.zip")
    label_key: ClassVar[bytes] = b"labels"
    label_bytes: ClassVar[int] = 1  # before each image of a binary file; the last one counts

    shape: tuple[int, int, int] = (3, 32, 32)
    classes: int = 10

    def files(self, split: str) -> tuple[tuple[str, ...], ...]:
        names = [f"data_batch_{i}" for i in range(1, 6)] if split == "train" else ["test_batch"]
        return tuple((name, f"{name}.bin") for name in names)

    def parse(self, files: list[Path]) -> tuple[np.ndarray, np.ndarray]:
        parts = [self._binary(file) if file.suffix == ".bin" else self._python(file) for file in files]
        pixels, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return pixels.reshape(-1, 3, 32, 32), labels

    def _python(self, file: Path) -> tuple[np.ndarray, np.ndarray]:
        match unpickle(file):
            case {b"data": np.ndarray(dtype=np.uint8) as pixels, self.label_key: list() as labels}:
                if pixels.shape == (len(labels), PIXELS):
                    return pixels, np.array(labels)
        raise DataError(f"{file} is not a batch of {self.name()}: download it again.")

    def _binary(self, file: Path) -> tuple[np.ndarray, np.ndarray]:
        content = np.fromfile(file, np.uint8)
        record = self.label_bytes + PIXELS
        if not len(content) or len(content) % record:
            raise DataError(f"{file} has {len(content)} bytes, no multiple of {record}: download it again.")
        rows = content.reshape(-1, record)
        return rows[:, self.label_bytes :], rows[:, self.label_bytes - 1]


@dataclass(frozen=True, kw_only=True)
class CIFAR100(CIFAR10):
    """50,000 + 10,000 photographs, 32 x 32, RGB, 100 classes (the fine ones).

    Source: Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html
    """

    known_classes: ClassVar[int] = 100
    known_names: ClassVar[tuple[str, ...]] = FINE
    loader: ClassVar[str] = "CIFAR100"
    subfolders: ClassVar[tuple[str, ...]] = ("cifar-100-python", "cifar-100-binary")
    packed: ClassVar[tuple[str, ...]] = ("cifar-100-*.tar.gz", "cifar-100-*.tar", "cifar-100*.zip")
    label_key: ClassVar[bytes] = b"fine_labels"
    label_bytes: ClassVar[int] = 2

    classes: int = 100

    def files(self, split: str) -> tuple[tuple[str, ...], ...]:
        return ((split, f"{split}.bin"),)


class _ArraysOnly(pickle.Unpickler):
    """Unpickles containers, numbers, strings and arrays only, since an untrusted pickle can execute code."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,
            ("numpy._core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): _latin1,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return allowed[module, name]


def _latin1(text: str, encoding: str) -> bytes:
    """Encode text as Python 3 pickles bytes for Python 2."""
    return text.encode("latin1")


def unpickle(file: Path) -> Any:
    """Load a pickle of plain values and arrays.

    Raises:
        DataError: it is damaged or contains anything else.
    """
    try:
        with file.open("rb") as opened:
            return _ArraysOnly(opened, encoding="bytes").load()
    except Exception as error:  # unpickling damaged files can raise any exception
        raise DataError(f"{file} is not the published file ({error}): download it again.") from error
