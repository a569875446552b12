"""Random numbers of validation: the same times and noise at each measurement, apart from those of training."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.diffusion import KeyedRandom

APART = 1 << 40  # validation examples are numbered far from those of training, so no noise is shared
GOLDEN = 0.6180339887498949  # multiples of the golden section fill [0, 1) evenly, however many there are


@dataclass(frozen=True, eq=False)
class FixedDraws(KeyedRandom):
    """Draws of validation example i: its noise by name, its time evenly spread, and no label dropped."""

    def uniform(self, purpose: str, *counters: int) -> Tensor:
        if purpose == "time":
            return ((self.index - APART) * GOLDEN + 0.5) % 1.0
        return torch.ones(len(self.index), dtype=torch.float64)

    def stratified(self, purpose: str, strata: int) -> Tensor:
        """Even as they are: few examples would not come round the strata."""
        return self.uniform(purpose)
