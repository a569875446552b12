"""Nearest neighbours in feature space, block by block, so that no whole distance matrix lies in memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from mezzotint.metrics.metric import feature_keys

TIE = 1e-7  # relative difference below which two distances are equal: that of float32 features
BLOCK = 1024  # rows of a distance matrix in memory at a time


def distance_blocks(rows: Tensor, others: Tensor) -> Iterator[Tensor]:
    """Euclidean distances from rows (n, d) to others (m, d): blocks (b, m) in the order of the rows.

    Those of equal rows are exactly 0, where rounding would leave something of them.
    """
    own, theirs = (feature_keys(side + 0.0) for side in (rows, others))  # of -0 and 0 alike
    for part, keys in zip(rows.split(BLOCK), own.split(BLOCK), strict=True):
        yield torch.cdist(part, others).masked_fill_(keys[:, None] == theirs, 0)


def radii(rows: Tensor, neighbours: int) -> Tensor:
    """Distance from each row (n, d) to its k-th nearest other row: (n,).

    Raises:
        ValueError: not more than k rows.
    """
    if len(rows) <= neighbours:
        raise ValueError(f"neighbours={neighbours} needs more than {neighbours} images, and there are {len(rows)}.")
    nearest = [block.kthvalue(neighbours + 1, dim=1).values for block in distance_blocks(rows, rows)]
    return torch.cat(nearest)


def nearest(rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Distance to and index of the nearest of others, for each row."""
    found = [block.min(dim=1) for block in distance_blocks(rows, others)]
    return torch.cat([part.values for part in found]), torch.cat([part.indices for part in found])
