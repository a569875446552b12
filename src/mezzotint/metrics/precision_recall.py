"""Improved precision and recall: how many drawn images look real, how many real ones could have been drawn."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.metrics.extractor import Extractor
from mezzotint.metrics.keepers import Rows
from mezzotint.metrics.neighbours import distance_blocks, radii
from mezzotint.metrics.statistic import FeatureMetric, short_count


class PrecisionRecall(FeatureMetric):
    """Precision: the share of drawn images inside some real image's ball; recall: the other way round.

    An image's ball reaches to its k-th nearest neighbour among its own kind.

    Source: Kynkaanniemi et al. 2019, eq. 1 and 2, https://arxiv.org/abs/1904.06991

    Args:
        extractor: turns images into features.
        neighbours: k; the paper uses 3.
        keep: feature rows of each side held in memory.
    """

    higher_is_better = True

    def __init__(self, extractor: Extractor, neighbours: int = 3, keep: int = 10_000) -> None:
        self.real, self.drawn = Rows("real", keep), Rows("drawn", keep)
        super().__init__(extractor, (self.real, self.drawn))
        self.neighbours = neighbours
        self.keep = keep

    def compute(self) -> Tensor:
        """Precision and recall, float64 (2,). Raises ValueError for not more than k images."""
        real, drawn = self.real.rows(self), self.drawn.rows(self)
        return torch.stack([covered(drawn, real, self.neighbours), covered(real, drawn, self.neighbours)])

    def label(self, n: int, reference: int | None = None) -> str:
        return f"{self.extractor.name}_{short_count(n)}"

    def values(self, n: int, reference: int | None = None) -> dict[str, float]:
        precision, recall = self.compute().tolist()
        name = self.label(n, reference)
        return {f"precision_{name}": precision, f"recall_{name}": recall}


def covered(rows: Tensor, centres: Tensor, neighbours: int) -> Tensor:
    """The share of rows inside the ball of at least one centre."""
    reach = radii(centres, neighbours)
    return torch.cat([(block <= reach).any(dim=1) for block in distance_blocks(rows, centres)]).double().mean()
