"""The distribution of numbered samples over processes."""

from collections.abc import Iterator

import torch
from torch import Tensor

from mezzotint.distributed import rank_and_world
from mezzotint.generation.generator import Progress, SampleGenerator

Numbered = tuple[Tensor, Tensor | None, Tensor]


def share(generator: SampleGenerator, n: int, progress: Progress | None = None) -> Iterator[Numbered]:
    """Generate this process's share of samples 0 .. n - 1, in batches of (stored (B, C, *size), labels (B,) or None,
    numbers (B,)).

    Every world_size-th batch, each bitwise equal to the batch that a single process would generate.
    """
    rank, world = rank_and_world()
    for first in range(rank * generator.batch, n, world * generator.batch):
        last = min(first + generator.batch, n)
        for images, labels in generator.batches(first, last, progress):
            yield images, labels, torch.arange(first, last)
