"""manifest.json of a folder of latents."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from mezzotint.atomic import write_text
from mezzotint.errors import DataError

FILE = "manifest.json"
FORMAT = 1
SPLITS = ("train", "test")
CHANGEABLE = ("source", "codec", "mean", "std")  # keys that say nothing about the numbers in the shards


@dataclass(frozen=True)
class Shard:
    """A file with the moments of consecutive images of a split, `first` to `stop` - 1."""

    split: str
    number: int
    first: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.first

    @property
    def name(self) -> str:
        return f"{self.split}-{self.number:05d}.safetensors"


@dataclass(frozen=True)
class Manifest:
    """The content of a folder of latents.

    Args:
        autoencoder: hash of the weights and the config of the autoencoder.
        data: hash of the images of each split.
        counts: images of each split.
        shape: (C, H, W) of the images.
        latents: (C, h, w) of the latents.
        shard: images of a shard; the last one of a split may have fewer.
        batch: images that were encoded together.
        source: the node of the data.
        codec: the node of the codec.
        mean, std: of each channel of the latents, over the training images and their mirror images; None until all
            images are encoded.
        format: version of the layout.
    """

    autoencoder: str
    data: Mapping[str, str]
    counts: Mapping[str, int]
    shape: tuple[int, ...]
    latents: tuple[int, ...]
    shard: int
    batch: int
    source: Mapping[str, Any]
    codec: Mapping[str, Any]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    format: int = FORMAT

    def __post_init__(self) -> None:
        for name in ("shape", "latents"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def complete(self) -> bool:
        """True once all images are encoded."""
        return self.mean is not None and self.std is not None

    @property
    def stored(self) -> tuple[int, ...]:
        """The shape of what is stored of an image: (2, 2 C, h, w)."""
        channels, *size = self.latents
        return 2, 2 * channels, *size

    def shards(self, split: str) -> Iterator[Shard]:
        """Yield the shards of a split in order."""
        count = self.counts[split]
        for number, first in enumerate(range(0, count, self.shard)):
            yield Shard(split, number, first, min(first + self.shard, count))

    @property
    def all_shards(self) -> list[Shard]:
        """The shards of all splits, in the order in which processes share them."""
        return [shard for split in SPLITS for shard in self.shards(split)]

    def differences(self, other: Self) -> list[str]:
        """Return the keys in which the numbers of two folders differ."""
        names = [item.name for item in fields(self) if item.name not in CHANGEABLE]
        return [name for name in names if getattr(self, name) != getattr(other, name)]

    def write(self, folder: Path) -> None:
        """Write the manifest atomically."""
        write_text(folder / FILE, json.dumps(asdict(self), indent=2) + "\n")


def read(folder: Path) -> Manifest:
    """Read the manifest of a folder of latents.

    Raises:
        DataError: there is none, or it is damaged.
    """
    file = folder / FILE
    if not file.is_file():
        raise DataError(
            f"{folder} has no {FILE}, so it holds no latents: write them by `mezzotint encode data=NAME "
            f"codec=autoencoder codec.directory=DIR out={folder}`."
        )
    try:
        found = Manifest(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{file} is damaged ({error}): encode the data again, into an empty folder.") from error
    if found.format != FORMAT or {*found.counts} != {*SPLITS}:
        raise DataError(f"{file} was written by another version of mezzotint: encode the data again.")
    return found
