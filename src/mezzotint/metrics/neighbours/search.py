"""The nearest images of a set, such as the training images, found in one pass over it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.data.image_set import ImageSource
from mezzotint.metrics.metric import ImageTable
from mezzotint.metrics.neighbours.knn import k_nearest

BATCH = 1024  # images of the set in memory at a time
PROBES = 512  # images of the set whose nearest other image gives the typical distance

Features = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest training images of each sample, in ascending order of distance.

    Args:
        index: their numbers in the training set, int64 (N, count).
        distances: Euclidean, float64 (N, count).
        typical: a distance to compare with: the median distance of a training image to the nearest other one, or of a
            held-out image to the nearest training image.
    """

    index: Tensor
    distances: Tensor
    typical: float


def pixels(images: Tensor) -> Tensor:
    """uint8 (B, C, H, W) as rows in [0, 1], so that distances are those of pixel values."""
    return images.flatten(1).float() / 255


def nearest_images(
    queries: Tensor,
    images: ImageSource,
    features: Features,
    count: int = 1,
    progress: Callable[[int], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Return distance and number of the `count` nearest images of a set, float64 and int64 (n, count), ascending.

    Of equal distances the lower number comes first.

    Args:
        queries: feature rows, float64 (n, d).
        images: the set that is searched.
        features: uint8 (B, C, H, W) -> rows (B, d) on the device of the queries.
        progress: called with the number of images in each batch.
    """
    best = queries.new_full((len(queries), count), float("inf"))
    index = torch.zeros(len(queries), count, dtype=torch.int64, device=queries.device)
    for part in torch.arange(len(images)).split(BATCH):
        distances, found = k_nearest(queries, features(images.batch(part)[0]).double(), min(count, len(part)))
        best, order = torch.cat([best, distances], 1).sort(dim=1, stable=True)
        index = torch.cat([index, part.to(index.device)[found]], 1).gather(1, order)
        best, index = best[:, :count], index[:, :count]
        if progress:
            progress(len(part))
    return best, index


def find_neighbours(
    samples: Tensor,
    training: ImageSource,
    count: int = 3,
    features: Features = pixels,
    progress: Callable[[int], None] | None = None,
) -> Neighbours:
    """Return the `count` nearest training images of each sample by Euclidean distance.

    Args:
        samples: uint8 (N, C, H, W).
        features: uint8 (B, C, H, W) -> rows (B, d): pixels, or an extractor for distances in feature space.
        progress: called with the number of training images in each batch.

    Raises:
        ValueError: not more training images than neighbours.
    """
    total = len(training)
    if not 1 <= count < total:
        raise ValueError(f"count={count} neighbours of {total} training examples: give 1 to {total - 1}")
    probes = torch.arange(min(total, PROBES)) * total // min(total, PROBES)  # spread over the set
    queries = torch.cat([features(samples), features(training.batch(probes)[0])]).double()
    distances, index = nearest_images(queries, training, features, count + 1, progress)
    n = len(samples)
    own = index[n:, 0] == probes  # the nearest is the probe itself, or a copy of it
    typical = torch.where(own, distances[n:, 1], distances[n:, 0]).median()
    return Neighbours(index[:n, :count], distances[:n, :count], float(typical))


def neighbour_table(samples: Tensor, near: Tensor, found: Neighbours) -> ImageTable:
    """Return a table of samples above their nearest training images, with how near the first of these is.

    The number below a column is the distance to the nearest in units of the typical distance: a sample far below 1 is
    a copy.

    Args:
        samples: uint8 (N, C, H, W).
        near: uint8 (N, count, C, H, W), the training images at `found.index`.
    """
    names = ["sample", "nearest", "2nd", "3rd", *(f"{i}th" for i in range(4, near.shape[1] + 1))][: near.shape[1] + 1]
    ratios = found.distances[:, 0] / max(found.typical, 1e-12)
    table = torch.cat([samples[:, None], near], dim=1).transpose(0, 1)
    columns = {"distance to the nearest / typical distance": [f"{ratio:.2f}" for ratio in ratios]}
    return ImageTable("the nearest pairs", table, {"": names}, columns)
