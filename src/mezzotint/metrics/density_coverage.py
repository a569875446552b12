"""Density and coverage: precision and recall that a few outliers do not spoil."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.metrics.balls import BallMetric
from mezzotint.metrics.extractor import Extractor
from mezzotint.metrics.neighbours import distance_blocks, radii


class DensityCoverage(BallMetric):
    """Density: real balls around a drawn image, divided by k (1 where the sets are alike, more where the drawn ones
    crowd where the real ones are dense); coverage: the share of real images with a drawn one in their ball.

    A real image's ball reaches to its k-th nearest real neighbour.

    Source: Naeem et al. 2020, eq. 3 and 4, https://arxiv.org/abs/2002.09797

    Args:
        extractor: turns images into features.
        neighbours: k; the paper uses 5.
        keep: feature rows of each side held in memory.
    """

    names = ("density", "coverage")

    def __init__(self, extractor: Extractor, neighbours: int = 5, keep: int = 10_000) -> None:
        super().__init__(extractor, neighbours, keep)

    def least(self) -> dict[str, int]:
        return {"real": self.neighbours + 1, "drawn": 2}

    def compute(self) -> Tensor:
        """Density and coverage, float64 (2,). Raises ValueError for not more than k real images."""
        real, drawn = self.real.rows(self), self.drawn.rows(self)
        reach = radii(real, self.neighbours)
        inside, hit = 0, torch.zeros(len(real), dtype=torch.bool, device=real.device)
        for block in distance_blocks(drawn, real):
            within = block < reach
            inside += int(within.sum())
            hit |= within.any(dim=0)
        density = torch.tensor(inside / (self.neighbours * len(drawn)), dtype=torch.float64, device=real.device)
        return torch.stack([density, hit.double().mean()])
