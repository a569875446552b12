"""The order of training images: endless, seeded, and a function of the number of images already seen.

Position p counts all images that training has used, over all processes. It determines everything about an example:

    epoch = p // N            image = permutation(seed, "order", N, epoch)[p % N]            flip = f(seed, "flip", p)

and a random crop as the flip.

Step s with the global batch b works on positions s b ... (s + 1) b - 1. With a micro-batches a step and w processes,
each holding n = b / (a w) images at once, micro-batch m = s a + k of process r is

    p = start + m n w + r + w j,        j = 0 ... n - 1

so that 1 x 64, 4 x 16 and two processes see the same examples at the same step. Nothing needs to be saved: the
number of images seen (start) is enough to resume.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from mezzotint.errors import ConfigError
from mezzotint.randomness import permutation


@dataclass(frozen=True)
class Order:
    """Endless seeded permutations of `size` images.

    Args:
        seed: the seed of the run.
        size: N, the number of images.
    """

    seed: int
    size: int

    def indices(self, positions: Tensor) -> Tensor:
        """Return the images (B,) at ascending positions (B,); a batch may extend into the next epoch."""
        first, last = int(positions[0]) // self.size, int(positions[-1]) // self.size
        within = positions % self.size
        if first == last:
            return _shuffled(self.seed, self.size, first).index_select(0, within)
        epochs = torch.stack([_shuffled(self.seed, self.size, epoch) for epoch in range(first, last + 1)])
        return epochs[positions // self.size - first, within]


@lru_cache(maxsize=4)
def _shuffled(seed: int, size: int, epoch: int) -> Tensor:
    return permutation(seed, "order", size, epoch)


@dataclass(frozen=True)
class Share:
    """The positions of one process, by micro-batch.

    Args:
        size: n, images per micro-batch of this process.
        rank: r, the rank of this process.
        world: w, the number of processes.
        start: images seen before the first micro-batch.
    """

    size: int
    rank: int = 0
    world: int = 1
    start: int = 0

    def positions(self, micro: int) -> Tensor:
        """Return the positions (n,) of micro-batch m, counted from the start."""
        first = self.start + micro * self.size * self.world + self.rank
        return torch.arange(first, first + self.size * self.world, self.world)


def micro_batches(batch_size: int, world: int, micro_batch: int | None = None) -> tuple[int, int]:
    """Return (n, a): images per micro-batch of each of w processes, and micro-batches per step: n a w = batch_size.

    Args:
        batch_size: b, images per step over all processes.
        world: w, the number of processes.
        micro_batch: n; by default a step is one micro-batch.

    Raises:
        ConfigError: b cannot be divided evenly.
    """
    together = world * (micro_batch or 1)
    if batch_size < 1 or batch_size % together:
        below, above = batch_size // together * together, (batch_size // together + 1) * together
        other = f"micro-batch than {micro_batch}" if micro_batch else "number of processes"
        raise ConfigError(
            f"batch_size={batch_size} cannot be shared out evenly: {world} process(es) work on {together} images "
            f"together, or a multiple of it. Use batch_size={f'{below} or {above}' if below > 0 else above}, "
            f"or another {other}."
        )
    size = micro_batch or batch_size // world
    return size, batch_size // (size * world)
