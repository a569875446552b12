"""Density and coverage: precision and recall that a few outliers do not spoil."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.metrics.balls import BallMetric
from mezzotint.metrics.extractor import Extractor
from mezzotint.metrics.neighbours import BLOCK, TIE, distance_blocks, radii


class DensityCoverage(BallMetric):
    """Density: real balls around a drawn image, divided by k (1 where the sets are alike, more where the drawn ones
    crowd where the real ones are dense); coverage: the share of real images with a drawn one in their ball.

    A real image's ball reaches to its k-th nearest real neighbour, which lies outside. Where real images repeat, what
    is drawn at that distance counts in part, so that the real images themselves have a density of 1: the paper's ball
    around an image that comes more than k times is empty.

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
        reach, edge = balls(real, self.neighbours)
        inside, hit = 0.0, edge.new_zeros(len(real), dtype=torch.bool)
        for block in distance_blocks(drawn, real):
            within, touching = block < reach * (1 - TIE), (block - reach).abs() <= reach * TIE
            inside += float(within.sum()) + float(touching.double().sum(0) @ edge)
            hit |= (within | (touching & (edge > 0))).any(dim=0)
        density = torch.tensor(inside / (self.neighbours * len(drawn)), dtype=torch.float64, device=real.device)
        return torch.stack([density, hit.double().mean()])


def balls(rows: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
    """For each row (n, d) the distance to its k-th neighbour, and what a point at this distance counts: both (n,).

    A ball holds k rows, its centre among them. Where no two are equally far its edge counts nothing; where some are,
    as copies of an image, those on the edge share what is missing inside.
    """
    reach, edge = radii(rows, neighbours), []
    for block, limit in zip(distance_blocks(rows, rows), reach[:, None].split(BLOCK), strict=True):
        touching = ((block - limit).abs() <= limit * TIE).sum(1)
        inner = (block < limit * (1 - TIE)).sum(1)
        edge.append((neighbours - inner).double() / touching)
    return reach, torch.cat(edge)
