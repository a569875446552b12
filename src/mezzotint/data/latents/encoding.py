"""Encoding of a dataset to shards, each written at once and never twice, by any number of processes."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mezzotint.atomic import atomic_path, sync
from mezzotint.data.arrays.files import open_array
from mezzotint.data.arrays.moments import rounded
from mezzotint.data.codecs.latent import LatentCodec
from mezzotint.data.dataset import Dataset
from mezzotint.data.image_files.on_access import identity
from mezzotint.data.image_set import ImageSource, labels_of
from mezzotint.data.latents.manifest import SPLITS, Manifest, Shard
from mezzotint.errors import DataError

TENSOR = "moments"
SHARD, IMAGES = 64 << 20, 512  # bytes and images of a shard, at most about
LABEL = "label"


def planned(dataset: Dataset, codec: LatentCodec, source: dict, node: dict) -> Manifest:
    """Return the manifest of the latents of a dataset before any image is encoded.

    Args:
        source, node: of the dataset and its codec in the config.

    Raises:
        ConfigError, DataError: the data or the autoencoder cannot be read, or do not fit.
    """
    latents = codec.shape(dataset.shape)
    each = 4 * math.prod(latents) * 4  # float32 mean and log-variance of two mirror images
    images = {split: dataset.split(split) for split in SPLITS}
    return Manifest(
        autoencoder=codec.fingerprint,
        data={split: identity(of_split) for split, of_split in images.items()},
        counts={split: len(of_split) for split, of_split in images.items()},
        shape=tuple(dataset.shape),
        latents=latents,
        shard=max(1, min(SHARD // each, IMAGES) // codec.batch) * codec.batch,
        batch=codec.batch,
        source=source,
        codec=node,
    )


def encode_shards(
    folder: Path,
    manifest: Manifest,
    dataset: Dataset,
    codec: LatentCodec,
    device: str = "cpu",
    rank: int = 0,
    world: int = 1,
    progress: Callable[[int], None] = lambda count: None,
) -> None:
    """Encode every `world`-th shard that is not there yet, from number `rank` on.

    Args:
        progress: called with the number of images that are done.

    Raises:
        DataError: an image cannot be read, or its latents are not finite.
    """
    for shard in manifest.all_shards[rank::world]:
        if intact(folder, manifest, shard):
            progress(len(shard))
            continue
        write_shard(folder / shard.name, manifest, shard, dataset.split(shard.split), codec, device, progress)


def intact(folder: Path, manifest: Manifest, shard: Shard) -> bool:
    """Return whether a shard has been written."""
    try:
        return open_array(folder / shard.name, TENSOR).shape == (len(shard), *manifest.stored)
    except DataError:
        return False


def write_shard(
    file: Path,
    manifest: Manifest,
    shard: Shard,
    images: ImageSource,
    codec: LatentCodec,
    device: str,
    progress: Callable[[int], None],
) -> None:
    """Encode the images of a shard, mirrored ones too, and write the file atomically."""
    from safetensors.torch import save

    found = torch.empty(len(shard), *manifest.stored)
    for first in range(shard.first, shard.stop, manifest.batch):
        indices = torch.arange(first, min(first + manifest.batch, shard.stop))
        pixels = images.batch(indices)[0].to(device)
        both = [codec.moments(part).cpu() for part in (pixels, pixels.flip(-1))]
        found[indices - shard.first] = torch.stack(both, 1)
        progress(len(indices))
    if not found.isfinite().all():
        bad = int((~found.isfinite().flatten(1).all(1)).nonzero()[0])
        raise DataError(
            f"image {shard.first + bad} of the split {shard.split!r} has latents that are NaN or infinite: the "
            "autoencoder diverged, or its weights are damaged."
        )
    with atomic_path(file) as part, part.open("wb") as opened:
        opened.write(save({TENSOR: found}, metadata={TENSOR: json.dumps(Sums.of(found).as_dict())}))
        sync(opened)


@dataclass(frozen=True)
class Sums:
    """Count, mean and summed squared deviations (C,) of latents, float64, of which two can be merged."""

    count: int
    mean: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, stored: Tensor) -> "Sums":
        """Return those of the latents that moments (n, 2, 2 C, *size) describe: drawn latents, not only their means."""
        mean, logvar = (
            part.double().transpose(1, 2).flatten(2).transpose(0, 1).flatten(1) for part in stored.chunk(2, 2)
        )
        own = mean.mean(1)
        squares = (mean - own[:, None]).square().sum(1) + logvar.exp().sum(1)
        return cls(mean.shape[1], own.numpy(), squares.numpy())

    def merged(self, other: "Sums") -> "Sums":
        """Return those of both. Source: Chan et al. 1983, sec. 2"""
        total = self.count + other.count
        apart = other.mean - self.mean
        squares = self.squares + other.squares + apart**2 * (self.count * other.count / total)
        return Sums(total, self.mean + apart * (other.count / total), squares)

    def as_dict(self) -> dict:
        return {"count": self.count, "mean": self.mean.tolist(), "squares": self.squares.tolist()}

    @classmethod
    def of_file(cls, file: Path) -> "Sums":
        """Read those of a shard from its header."""
        from safetensors import safe_open

        with safe_open(file, framework="np") as opened:
            kept = json.loads((opened.metadata() or {})[TENSOR])
        return cls(kept["count"], np.array(kept["mean"]), np.array(kept["squares"]))


def finished(folder: Path, manifest: Manifest, dataset: Dataset) -> Manifest:
    """Write what belongs to all shards: labels, conditions, and the manifest with the moments of the channels."""
    for split in SPLITS:
        write_values(folder / f"{split}.safetensors", dataset, split)
    parts = [Sums.of_file(folder / shard.name) for shard in manifest.shards("train")]
    total = parts[0]
    for part in parts[1:]:
        total = total.merged(part)
    std = np.sqrt(total.squares / total.count)
    std[std == 0] = 1.0
    done = replace(manifest, mean=tuple(map(rounded, total.mean)), std=tuple(map(rounded, std)))
    done.write(folder)
    return done


def write_values(file: Path, dataset: Dataset, split: str) -> None:
    """Write labels and stored conditions of a split, if it has some."""
    from safetensors.numpy import save

    kept = dataset.condition_values(split).stored
    values = {name: value.rows(np.arange(len(value))) for name, value in kept.items()}
    labels = labels_of(dataset.split(split)) if dataset.classes else None
    values |= {} if labels is None else {LABEL: labels.numpy()}
    if not values:
        return
    with atomic_path(file) as part, part.open("wb") as opened:
        opened.write(save({name: np.ascontiguousarray(value) for name, value in values.items()}))
        sync(opened)
