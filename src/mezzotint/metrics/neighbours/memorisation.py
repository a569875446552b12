"""Memorisation: how much nearer samples lie to the training images than held-out images do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mezzotint.data.image_set import ImageSource
from mezzotint.errors import DataError
from mezzotint.metrics.extractors.base import Extractor
from mezzotint.metrics.metric import Context, ImageTable, Measured, Metric, require_model, short_count
from mezzotint.metrics.neighbours.search import BATCH, Features, Neighbours, nearest_images, neighbour_table

PAIRS = 10  # in the picture
REASON = "the examples that the model was trained on"


@dataclass(frozen=True, eq=False)
class MemorisationResult:
    """Distances of samples to their nearest training images, compared with those of held-out images.

    Args:
        share: fraction of samples that are nearer to a training image than all but `level` of the held-out images.
        level: the fraction to expect of a model that copies nothing.
        nearer: probability that a sample is nearer than a held-out image; 1/2 is expected (ties count half).
        distances: from each sample to its nearest training image (n,).
        neighbours: the number of that training image (n,).
        typical: the median distance from a held-out image to its nearest training image.
    """

    share: float
    level: float
    nearer: float
    distances: Tensor
    neighbours: Tensor
    typical: float

    def lines(self) -> list[str]:
        """The result in words."""
        return [
            f"{self.share:.1%} of the samples are as near to a training example as the nearest {self.level:.0%} of the "
            f"held-out examples; a sample is nearer than a held-out example with probability {self.nearer:.2f}, "
            "where 0.5 is expected"
        ]

    def worst(self, count: int) -> Tensor:
        """Numbers of the samples nearest to a training image (count,), in ascending order of distance."""
        return self.distances.argsort(stable=True)[:count]


@dataclass(frozen=True)
class Memorisation(Metric):
    """The fraction of samples that are suspiciously near to a training image: `memorised` of the first samples.

    Training images are those of the split "train", compared with the held-out ones of "test", whatever the reference.

    Args:
        extractor: its pooled features give the distances.
        images: upper bound on the number of samples.
        level: fraction of held-out images that count as suspiciously near, which is the value to expect.
    """

    extractor: Extractor
    images: int = 1000
    level: float = 0.05

    higher_is_better: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.images < 1 or not 0 < self.level < 1:
            raise ValueError(
                f"images={self.images}, level={self.level}: at least one image, and a fraction between 0 and 1."
            )

    @property
    def extractors(self) -> tuple[Extractor, ...]:
        return (self.extractor,)

    @property
    def required_splits(self) -> tuple[str, ...]:
        return ("train", "test")

    def count(self, n: int) -> int:
        """The number of n samples that are compared."""
        return min(n, self.images)

    def validate(self, context: Context) -> None:
        model = require_model(self, context, REASON)
        if model.split("train").digest() == model.split("test").digest():
            raise DataError(
                "the memorisation check compares with examples that were not trained on, and this dataset holds none "
                "out. Train with data.held_out=0.1, or leave metrics=memorisation out."
            )

    def measure(self, context: Context) -> Measured:
        model = require_model(self, context, REASON)
        training, held_out = model.split("train"), model.split("test")
        count = self.count(context.n or self.images)
        with context.progress("samples to compare", count) as advance:
            samples = model.samples(count, advance)
        with context.progress("training examples", len(training)) as advance:
            found = memorised(
                samples.to(context.device), training, held_out, self.extractor, self.level, progress=advance
            )
        protocol = {
            "count": count,
            "training": {"count": len(training), "sha256": training.digest()},
            "held_out": {"count": len(held_out), "sha256": held_out.digest()},
        }
        picture = nearest_pairs(samples, training, found)
        return Measured(self.values(found), notes=found.lines(), protocol=protocol, picture=picture)

    def values(self, found: MemorisationResult) -> dict[str, float]:
        """Values by reported name."""
        name = f"{self.extractor.name}_{short_count(len(found.distances))}"
        return {f"copied_{name}": found.share, f"copied_nearer_{name}": found.nearer}

    def settings(self) -> dict[str, Any]:
        return {
            "metric": type(self).__name__,
            "extractor": self.extractor.name,
            "images": self.images,
            "level": self.level,
        }


def memorised(
    samples: Tensor,
    training: ImageSource,
    held_out: ImageSource,
    extractor: Extractor,
    level: float = 0.05,
    progress: Callable[[int], None] | None = None,
) -> MemorisationResult:
    """Compare the distances of samples and of held-out images to their nearest training images.

    A model that has learned the distribution is no nearer to its training images than new images are; one that copies
    is. Typical, overly smooth samples also come nearer, so look at the pairs.

    Source: Meehan et al. 2020, https://arxiv.org/abs/2004.05675 (the comparison with held-out images)

    Args:
        samples: uint8 (n, C, H, W).
        training: images that the model was trained on.
        held_out: images of the same distribution that it was not trained on.
        extractor: its pooled features give the distances.
        level: quantile of the held-out distances below which a sample counts as copied.
        progress: called with the number of training images in each batch.
    """

    def features(images: Tensor) -> Tensor:  # in float64 on the CPU, which every device can convert to
        return extractor(images.to(samples.device)).cpu().double()

    queries = torch.cat([features(samples), _features(held_out, features)])
    distances, indices = (
        found[:, 0].contiguous() for found in nearest_images(queries, training, features, progress=progress)
    )
    own, other = distances[: len(samples)], distances[len(samples) :]
    share = float((own < other.quantile(level)).double().mean())
    ordered = other.sort().values
    below, through = (torch.searchsorted(ordered, own, right=right).double() for right in (False, True))
    nearer = 1 - float((below + through).mean()) / (2 * len(other))
    return MemorisationResult(share, level, nearer, own, indices[: len(samples)], float(other.median()))


def nearest_pairs(samples: Tensor, training: ImageSource, found: MemorisationResult) -> ImageTable:
    """Return a table of the samples nearest to a training image, above these."""
    worst = found.worst(PAIRS)
    index, distances = found.neighbours[worst][:, None], found.distances[worst][:, None]
    near = training.batch(found.neighbours[worst])[0][:, None]
    return neighbour_table(samples[worst], near, Neighbours(index, distances, found.typical))


def _features(images: ImageSource, features: Features) -> Tensor:
    return torch.cat([features(images.batch(part)[0]) for part in torch.arange(len(images)).split(BATCH)])
