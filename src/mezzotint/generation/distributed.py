"""Numbered samples drawn by several processes together, each its own share."""

from collections.abc import Iterator

import torch
from torch import Tensor

from mezzotint.distributed import rank_and_world
from mezzotint.generation.generator import Progress, SampleGenerator

Numbered = tuple[Tensor, Tensor | None, Tensor]


def share(generator: SampleGenerator, n: int, progress: Progress | None = None) -> Iterator[Numbered]:
    """Of samples 0 .. n - 1 those that this process draws, in batches of (uint8 (B, C, H, W), labels (B,) or None,
    numbers (B,)).

    Whole batches, every world-th one: each is the batch that one process alone would draw, to the last bit.
    """
    rank, world = rank_and_world()
    for first in range(rank * generator.batch, n, world * generator.batch):
        last = min(first + generator.batch, n)
        for images, labels in generator.batches(first, last, progress):
            yield images, labels, torch.arange(first, last)
