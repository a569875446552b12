"""Latents that `mezzotint encode` wrote, as a dataset."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mezzotint.data.arrays.files import open_array
from mezzotint.data.arrays.stored import FileRows, Rows
from mezzotint.data.codecs.base import Codec
from mezzotint.data.codecs.latent import LatentCodec
from mezzotint.data.conditions import ConditionValues, checked
from mezzotint.data.dataset import Dataset, check_split, codec_of
from mezzotint.data.image_files.class_folders import refuse_labels
from mezzotint.data.image_files.on_access import identity
from mezzotint.data.image_set import ImageSource
from mezzotint.data.latents.encoding import LABEL, TENSOR
from mezzotint.data.latents.manifest import SPLITS, Manifest, read
from mezzotint.errors import ConfigError, DataError


@dataclass(frozen=True, kw_only=True)
class Latents(Dataset):
    """Latents of images and flipped images, computed once by an autoencoder.

    Training and validation read their moments; the images themselves are read for evaluation alone. Labels and stored
    conditions lie beside the latents.

    Args:
        root: the folder that `mezzotint encode` wrote.
        source: the images that were encoded; None evaluates nothing.
        shape: (C, H, W) of the images; None takes it from the folder.
    """

    root: str
    source: Dataset | None = None
    shape: tuple[int, int, int] | None = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.shape is None:
            object.__setattr__(self, "shape", self.manifest.shape)
        super().__post_init__()

    def name(self) -> str:
        return self.root

    @property
    def folder(self) -> Path:
        return Path(self.root).expanduser()

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest. Raises DataError: there is none, or images have not been encoded yet."""
        found = read(self.folder)
        if not found.complete:
            raise DataError(f"{self.root} is not complete: run the same `mezzotint encode` again, which goes on.")
        return found

    def split(self, name: str) -> ImageSource:
        if self.source is None:
            raise DataError(f"{self.root} holds latents and no images: give data.source, the images that were encoded.")
        return self.source.split(name)

    def examples(self, split: str) -> ImageSource:
        check_split(split)
        if split not in self._opened:
            self._opened[split] = self._open(split)
        return self._opened[split]

    @cached_property
    def _opened(self) -> dict[str, "LatentItems"]:
        return {}

    def _open(self, split: str) -> "LatentItems":
        manifest = self.manifest
        if split not in SPLITS:
            raise DataError(f"{self.root} holds latents of {' and '.join(SPLITS)} images, and none of {split!r}.")
        if manifest.shape != self.shape:
            raise DataError(
                f"data.shape={list(self.shape)}, but those of {self.root} are of {list(manifest.shape)}: leave it out."
            )
        self._check_autoencoder(self.codec)
        self._check_source(split)
        files = [self._shard(shard.name, (len(shard), *manifest.stored)) for shard in manifest.shards(split)]
        known = f"{manifest.autoencoder} {manifest.data[split]}"
        return LatentItems(tuple(files), manifest.shard, manifest.counts[split], self._labels(split), known)

    def _check_autoencoder(self, codec: Codec | None) -> None:
        if not isinstance(codec, LatentCodec):
            raise ConfigError(f"{self.root} holds latents, which an autoencoder decodes: leave codec= out.")
        if codec.fingerprint != self.manifest.autoencoder:
            raise DataError(
                f"{self.root} holds latents of another autoencoder (sha256 {self.manifest.autoencoder[:12]}) than that "
                f"of codec= ({codec.fingerprint[:12]}): leave codec= out, or encode the data with this one."
            )

    def _check_source(self, split: str) -> None:
        """Compare the images with those that were encoded, where they are here."""
        if self.source is None:
            return
        try:
            images = self.source.split(split)
        except DataError:  # whoever needs them will say so
            return
        found, known = identity(images), self.manifest.data[split]
        kind, _, _ = known.partition(":")
        same = found == known if found.startswith(f"{kind}:") else len(images) == self.manifest.counts[split]
        if not same:
            raise DataError(
                f"{self.root} holds latents of other images than the {len(images):,} of {self.source.name()} now "
                f"(split {split!r}): encode them again, into another folder, or give data.source of the same images."
            )

    def _shard(self, name: str, shape: tuple[int, ...]) -> FileRows:
        found = open_array(self.folder / name, TENSOR)
        if found.shape != shape or not isinstance(found, FileRows):
            raise DataError(
                f"{self.folder / name} holds {list(found.shape)} and not {list(shape)}: delete it and run the same "
                "`mezzotint encode` again."
            )
        return replace(found, shape=(2 * shape[0], *shape[2:]))

    def _values(self, split: str, name: str) -> Rows:
        found = open_array(self.folder / f"{split}.safetensors", name)
        if found.shape[0] != self.manifest.counts[split]:
            raise DataError(f"{self.folder}/{split}.safetensors: {name} has {found.shape[0]:,} values; encode again.")
        return found

    def _labels(self, split: str) -> Tensor | None:
        if not self.classes:
            return None
        labels = everything(self._values(split, LABEL)).astype(np.int64)
        refuse_labels(self.root, np.unique(labels).tolist(), self.classes)
        return torch.from_numpy(labels)

    def condition_values(self, split: str) -> ConditionValues:
        check_split(split)
        if self.source is not None and split not in SPLITS:
            return self.source.condition_values(split)
        stored = {
            name: checked(self.root, name, kind, self._values(split, name), self.manifest.counts[split])
            for name, kind in self.conditions.items()
            if not kind.derived
        }
        return ConditionValues(self.conditions, stored, codec_of(self).encode)

    def class_names(self) -> tuple[str, ...]:
        return self.names or (self.source.class_names() if self.source is not None and self.classes else ())

    def preprocessing(self) -> str:
        return "none" if self.source is None else self.source.preprocessing()


@dataclass(frozen=True, eq=False)
class LatentItems(ImageSource):
    """Moments of latents (B, 2 C, h, w), read from shards on demand.

    Args:
        shards: rows 2 i and 2 i + 1 of a shard are those of its image i and of its mirror image.
        per: images of a shard.
        count: images of all shards.
        known: what the latents are of, for their digest.
    """

    shards: tuple[FileRows, ...]
    per: int
    count: int
    labels: Tensor | None
    known: str

    def __len__(self) -> int:
        return self.count

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.flipped(indices, torch.zeros(len(indices), dtype=torch.bool))

    def flipped(self, indices: Tensor, which: Tensor) -> tuple[Tensor, Tensor | None]:
        rows = (2 * (indices % self.per) + which).numpy()
        numbers = (indices // self.per).numpy()
        found = np.empty((len(rows), *self.shards[0].shape[1:]), np.float32)
        for number in np.unique(numbers):
            here = numbers == number
            found[here] = self.shards[number].rows(rows[here])
        labels = None if self.labels is None else self.labels.index_select(0, indices)
        return torch.from_numpy(found), labels

    def digest(self) -> str:
        """Return a hash of autoencoder, images and labels, which is as good as one of the latents."""
        hashed = hashlib.sha256(self.known.encode())
        hashed.update(b"unlabelled" if self.labels is None else self.labels.numpy().data)
        return hashed.hexdigest()


def everything(array: Rows) -> np.ndarray:
    return array.rows(np.arange(array.shape[0]))
