"""k-NN manifold metrics: each image's hypersphere has the radius of its k-th nearest neighbour in its own set."""

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
    """Base of metrics that report two values computed from kept feature rows.

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
    """Precision: the fraction of generated images inside the hypersphere of a real image; recall: the reverse.

    The radius of an image's hypersphere is the distance to its k-th nearest neighbour in its own set.

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
        """Precision and recall, float64 (2,). Raises ValueError for k images or fewer."""
        real, generated = self.real.rows(), self.generated.rows()
        return torch.stack(
            [fraction_covered(*pair, self.neighbours) for pair in ((generated, real), (real, generated))]
        )


def fraction_covered(rows: Tensor, centres: Tensor, neighbours: int) -> Tensor:
    """Return the fraction of rows inside the hypersphere of at least one centre."""
    radius = radii(centres, neighbours) * (1 + TIE)
    return torch.cat([(block <= radius).any(dim=1) for block in distance_blocks(rows, centres)]).double().mean()


class DensityCoverage(ManifoldMetric):
    """Density: the number of real hyperspheres that contain a generated image, divided by k (1 for equal distributions,
    more if samples concentrate where real images are dense); coverage: the fraction of real images with a generated one
    in their hypersphere.

    The radius of a real image's hypersphere is the distance to its k-th nearest real neighbour, which lies outside. If
    real images repeat, a generated image at exactly that distance counts in part, so that the real images themselves
    have a density of 1: the paper's hypersphere around an image with more than k copies is empty.

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
        """Density and coverage, float64 (2,). Raises ValueError for k real images or fewer."""
        real, generated = self.real.rows(), self.generated.rows()
        radius, edge = hyperspheres(real, self.neighbours)
        inside, hit = 0.0, edge.new_zeros(len(real), dtype=torch.bool)
        for block in distance_blocks(generated, real):
            within, touching = block < radius * (1 - TIE), (block - radius).abs() <= radius * TIE
            inside += float(within.sum()) + float(touching.double().sum(0) @ edge)
            hit |= (within | (touching & (edge > 0))).any(dim=0)
        density = torch.tensor(inside / (self.neighbours * len(generated)), dtype=torch.float64, device=real.device)
        return torch.stack([density, hit.double().mean()])


def hyperspheres(rows: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
    """Return the distance of each row (n, d) to its k-th neighbour, and the weight of a point at this distance: (n,).

    A hypersphere contains k rows, its centre among them. If all distances differ, its surface has weight 0; if some are
    equal, as for copies of an image, the rows on the surface share what is missing inside.
    """
    radius, edge = radii(rows, neighbours), []
    for block, limit in zip(distance_blocks(rows, rows), radius[:, None].split(BLOCK), strict=True):
        touching = ((block - limit).abs() <= limit * TIE).sum(1)
        inner = (block < limit * (1 - TIE)).sum(1)
        edge.append((neighbours - inner).double() / touching)
    return radius, torch.cat(edge)
