"""Nearest neighbours among feature rows, in blocks that bound the memory of the distance matrix."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from mezzotint.metrics.feature_metric import feature_keys

TIE = 1e-7  # relative difference below which two distances are equal: that of float32 features
BLOCK = 1024  # rows of a distance matrix in memory at a time


def distance_blocks(rows: Tensor, others: Tensor) -> Iterator[Tensor]:
    """Yield Euclidean distances from rows (n, d) to others (m, d) in blocks (b, m), in the order of the rows.

    Distances between equal rows are exactly 0, without rounding error.
    """
    own, theirs = (feature_keys(side + 0.0) for side in (rows, others))  # -0 equals 0
    for part, keys in zip(rows.split(BLOCK), own.split(BLOCK), strict=True):
        yield torch.cdist(part, others).masked_fill_(keys[:, None] == theirs, 0)


def radii(rows: Tensor, neighbours: int) -> Tensor:
    """Return the distance from each row (n, d) to its k-th nearest other row, (n,).

    Raises:
        ValueError: k rows or fewer.
    """
    if len(rows) <= neighbours:
        raise ValueError(f"neighbours={neighbours} needs more than {neighbours} examples, and there are {len(rows)}.")
    nearest = [block.kthvalue(neighbours + 1, dim=1).values for block in distance_blocks(rows, rows)]
    return torch.cat(nearest)


def k_nearest(rows: Tensor, others: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Distance to and index of the `count` nearest of others for each row, both (n, count), ascending."""
    found = [_least(block, count) for block in distance_blocks(rows, others)]
    return torch.cat([distances for distances, _ in found]), torch.cat([index for _, index in found])


def _least(block: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The smallest entries of each row, the first of equal ones first: topk leaves their order open."""
    values, indices = [], []
    for _ in range(count):
        value, index = block.min(dim=1, keepdim=True)
        block.scatter_(1, index, float("inf"))
        values.append(value)
        indices.append(index)
    return torch.cat(values, dim=1), torch.cat(indices, dim=1)
