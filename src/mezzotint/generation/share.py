"""Numbered samples drawn by several processes together, each its own share."""

from collections.abc import Iterator

import torch.distributed as dist
from torch import Tensor

from mezzotint.generation.generator import Generator, Progress


def position() -> tuple[int, int]:
    """The rank of this process among those that work together, and how many they are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


def share(generator: Generator, n: int, progress: Progress | None = None) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Of samples 0 .. n - 1 those that this process draws, in batches of (uint8 (B, C, H, W), labels (B,) or None).

    Whole batches, every world-th one: each is the batch that one process alone would draw, to the last bit.
    """
    rank, world = position()
    for first in range(rank * generator.batch, n, world * generator.batch):
        yield from generator.batches(first, min(first + generator.batch, n), progress)


def share_size(generator: Generator, n: int) -> int:
    """How many samples those are."""
    rank, world = position()
    return sum(min(generator.batch, n - first) for first in range(rank * generator.batch, n, world * generator.batch))
