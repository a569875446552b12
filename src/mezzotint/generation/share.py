"""Numbered samples drawn by several processes together, each its own share."""

from collections.abc import Iterator

from torch import Tensor

from mezzotint.generation.generator import Generator, Progress
from mezzotint.processes import position


def share(generator: Generator, n: int, progress: Progress | None = None) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Of samples 0 .. n - 1 those that this process draws, in batches of (uint8 (B, C, H, W), labels (B,) or None).

    Whole batches, every world-th one: each is the batch that one process alone would draw, to the last bit.
    """
    rank, world = position()
    for first in range(rank * generator.batch, n, world * generator.batch):
        yield from generator.batches(first, min(first + generator.batch, n), progress)
