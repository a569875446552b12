"""Numbered samples drawn by several processes together, each its own share."""

from collections.abc import Iterator

import torch
from torch import Tensor

from mezzotint.generation.generator import Generator, Progress
from mezzotint.processes import position

Numbered = tuple[Tensor, Tensor | None, Tensor]


def share(generator: Generator, n: int, progress: Progress | None = None) -> Iterator[Numbered]:
    """Of samples 0 .. n - 1 those that this process draws, in batches of (uint8 (B, C, H, W), labels (B,) or None,
    numbers (B,)).

    Whole batches, every world-th one: each is the batch that one process alone would draw, to the last bit.
    """
    rank, world = position()
    for first in range(rank * generator.batch, n, world * generator.batch):
        last = min(first + generator.batch, n)
        for images, labels in generator.batches(first, last, progress):
            yield images, labels, torch.arange(first, last)
