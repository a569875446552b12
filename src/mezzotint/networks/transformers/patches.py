"""Data as a sequence of patches, in one to three dimensions."""

import math
from collections.abc import Sequence

from torch import Tensor, nn


def patch_grid(size: Sequence[int], patch: int) -> tuple[int, ...]:
    """Return the number of patches along each dimension.

    Raises:
        ValueError: the patches do not divide the size.
    """
    if patch < 1:
        raise ValueError(f"patch={patch}: the side of a patch must be 1 or more.")
    if any(length % patch for length in size):
        raise ValueError(
            f"patch={patch} does not divide a size of {' x '.join(map(str, size))}. "
            f"Choose a patch that divides {math.gcd(*size)}, or change the size of the data."
        )
    return tuple(length // patch for length in size)


def patchify(x: Tensor, patch: int) -> Tensor:
    """Cut x into patches: (B, C, *size) -> (B, N, C patch^d), each flattened by channel, then by position."""
    batch, channels, *size = x.shape
    rank, counts = len(size), [length // patch for length in size]
    split = x.reshape(batch, channels, *[part for count in counts for part in (count, patch)])
    places, inside = [2 + 2 * i for i in range(rank)], [3 + 2 * i for i in range(rank)]
    return split.permute(0, *places, 1, *inside).reshape(batch, math.prod(counts), channels * patch**rank)


def unpatchify(patches: Tensor, grid: Sequence[int], patch: int) -> Tensor:
    """Put patches together, the inverse of `patchify`: (B, N, C patch^d) -> (B, C, *size)."""
    rank = len(grid)
    parts = patches.reshape(patches.shape[0], *grid, -1, *[patch] * rank)
    order = [axis for i in range(rank) for axis in (1 + i, 2 + rank + i)]
    return parts.permute(0, 1 + rank, *order).reshape(patches.shape[0], -1, *[count * patch for count in grid])


class PatchEmbedding(nn.Module):
    """A linear layer on each patch, with `bottleneck` two without a nonlinearity: (B, C, *size) -> (B, N, width).

    A linear layer on patches is a convolution whose stride is its kernel, in any number of dimensions; its weight is
    that of the convolution, flattened.

    Source: of the bottleneck, Li and He 2025, section 4.4, https://arxiv.org/abs/2511.13720
    """

    def __init__(self, channels: int, rank: int, patch: int, width: int, bottleneck: int | None = None) -> None:
        super().__init__()
        self.patch = patch
        self.reduce = nn.Linear(channels * patch**rank, bottleneck, bias=False) if bottleneck else None
        self.linear = nn.Linear(bottleneck or channels * patch**rank, width)

    def forward(self, x: Tensor) -> Tensor:
        patches = patchify(x.to(self.linear.weight.dtype), self.patch)  # the state may have higher precision
        return self.linear(patches if self.reduce is None else self.reduce(patches))
