"""Density and coverage: precision and recall that a few outliers do not spoil."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.metrics.extractor import Extractor
from mezzotint.metrics.keepers import Rows
from mezzotint.metrics.neighbours import distance_blocks, radii
from mezzotint.metrics.statistic import FeatureMetric, short_count


class DensityCoverage(FeatureMetric):
    """Density: real balls around a drawn image, divided by k (1 where the sets are alike, more where the drawn ones
    crowd where the real ones are dense); coverage: the share of real images with a drawn one in their ball.

    A real image's ball reaches to its k-th nearest real neighbour.

    Source: Naeem et al. 2020, eq. 3 and 4, https://arxiv.org/abs/2002.09797

    Args:
        extractor: turns images into features.
        neighbours: k; the paper uses 5.
        keep: feature rows of each side held in memory.
    """

    higher_is_better = True

    def __init__(self, extractor: Extractor, neighbours: int = 5, keep: int = 10_000) -> None:
        self.real, self.drawn = Rows("real", keep), Rows("drawn", keep)
        super().__init__(extractor, (self.real, self.drawn))
        self.neighbours = neighbours
        self.keep = keep

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

    def label(self, n: int, reference: int | None = None) -> str:
        return f"{self.extractor.name}_{short_count(n)}"

    def values(self, n: int, reference: int | None = None) -> dict[str, float]:
        density, coverage = self.compute().tolist()
        name = self.label(n, reference)
        return {f"density_{name}": density, f"coverage_{name}": coverage}
