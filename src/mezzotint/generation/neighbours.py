"""Which training images a drawn image is nearest to: the first thing to look at where a model may have copied."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.data.image_set import ImageSource

BLOCK = 2048  # training images in memory at a time
ASKED = 512  # training images that are asked how near they are to each other


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest training images of each drawn one, the nearest first.

    Args:
        index: where they stand in the training set, int64 (N, count).
        distances: to them, float64 (N, count).
        usual: the median distance from a training image to its own nearest other training image, to compare with.
    """

    index: Tensor
    distances: Tensor
    usual: float


def pixels(images: Tensor) -> Tensor:
    """uint8 (B, C, H, W) as rows of numbers in [0, 1], so that a distance is the Euclidean one of the pictures."""
    return images.flatten(1).float() / 255


def find_neighbours(
    drawn: Tensor,
    training: ImageSource,
    count: int = 3,
    features: Callable[[Tensor], Tensor] = pixels,
    progress: Callable[[int], None] | None = None,
) -> Neighbours:
    """The `count` nearest training images of each drawn image, by Euclidean distance.

    Args:
        drawn: uint8 (N, C, H, W).
        features: uint8 (B, C, H, W) to rows (B, d); an extractor of mezzotint.metrics measures in feature space.
        progress: told how many training images have been looked at.

    Raises:
        ValueError: fewer training images than neighbours are asked for, plus one.
    """
    total = len(training)
    if not 1 <= count < total:
        raise ValueError(f"count={count} neighbours of {total} training images: give 1 to {total - 1}")
    asked = torch.arange(min(total, ASKED)) * total // min(total, ASKED)  # spread over the set
    queries = torch.cat([features(drawn), features(training.batch(asked)[0])]).double()
    best = torch.full((len(queries), count + 1), float("inf"), dtype=torch.float64)
    where = torch.zeros(len(queries), count + 1, dtype=torch.int64)
    for part in torch.arange(total).split(BLOCK):
        near = torch.cdist(queries, features(training.batch(part)[0]).double())
        best, order = torch.cat([best, near], 1).topk(count + 1, largest=False)
        where = torch.cat([where, part.expand(len(queries), -1)], 1).gather(1, order)
        if progress:
            progress(len(part))
    n = len(drawn)
    apart = torch.where(where[n:, 0] == asked, best[n:, 1], best[n:, 0])  # its own nearest is itself, or its copy
    return Neighbours(where[:n, :count], best[:n, :count], float(apart.median()))
