"""What metrics of balls share: an image's ball reaches to its k-th nearest neighbour among its own kind."""

from __future__ import annotations

from abc import ABC
from typing import ClassVar

import torch
from torch import Tensor

from mezzotint.metrics.accumulators import FeatureReservoir
from mezzotint.metrics.extractors.base import Extractor
from mezzotint.metrics.feature_metric import FeatureMetric
from mezzotint.metrics.metric import short_count
from mezzotint.metrics.neighbours.knn import BLOCK, TIE, distance_blocks, radii


class ManifoldMetric(FeatureMetric, ABC):
    """Two numbers, each reported under its own name, from the features themselves.

    Args:
        extractor: turns images into features.
        neighbours: k.
        keep: feature rows of each side held in memory.
    """

    higher_is_better = True
    names: ClassVar[tuple[str, str]]

    def __init__(self, extractor: Extractor, neighbours: int, keep: int) -> None:
        if neighbours < 1:
            raise ValueError(f"neighbours={neighbours}: give 1 or more.")
        self.real, self.generated = FeatureReservoir("real", keep), FeatureReservoir("generated", keep)
        super().__init__(extractor, (self.real, self.generated))
        self.neighbours = neighbours
        self.keep = keep

    def reported_name(self, n: int, reference: int | None = None) -> str:
        return f"{self.extractor.name}_{short_count(min(n, self.keep))}"

    def min_images(self) -> dict[str, int]:
        return {"real": self.neighbours + 1, "generated": self.neighbours + 1}

    def values(self, n: int, reference: int | None = None) -> dict[str, float]:
        names = (f"{name}_{self.reported_name(n, reference)}" for name in self.names)
        return dict(zip(names, self.compute().tolist(), strict=True))


class PrecisionRecall(ManifoldMetric):
    """Precision: the share of drawn images inside some real image's ball; recall: the other way round.

    An image's ball reaches to its k-th nearest neighbour among its own kind.

    Source: Kynkaanniemi et al. 2019, eq. 1 and 2, https://arxiv.org/abs/1904.06991

    Args:
        extractor: turns images into features.
        neighbours: k; the paper uses 3.
        keep: feature rows of each side held in memory.
    """

    names = ("precision", "recall")

    def __init__(self, extractor: Extractor, neighbours: int = 3, keep: int = 10_000) -> None:
        super().__init__(extractor, neighbours, keep)

    def compute(self) -> Tensor:
        """Precision and recall, float64 (2,). Raises ValueError for not more than k images."""
        real, drawn = self.real.rows(), self.generated.rows()
        return torch.stack(
            [fraction_covered(drawn, real, self.neighbours), fraction_covered(real, drawn, self.neighbours)]
        )


def fraction_covered(rows: Tensor, centres: Tensor, neighbours: int) -> Tensor:
    """The share of rows inside the ball of at least one centre."""
    reach = radii(centres, neighbours) * (1 + TIE)
    return torch.cat([(block <= reach).any(dim=1) for block in distance_blocks(rows, centres)]).double().mean()


class DensityCoverage(ManifoldMetric):
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

    def min_images(self) -> dict[str, int]:
        return {"real": self.neighbours + 1, "generated": 2}

    def compute(self) -> Tensor:
        """Density and coverage, float64 (2,). Raises ValueError for not more than k real images."""
        real, drawn = self.real.rows(), self.generated.rows()
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
