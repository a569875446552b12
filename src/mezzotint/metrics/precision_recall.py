"""Improved precision and recall: how many drawn images look real, how many real ones could have been drawn."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.metrics.balls import BallMetric
from mezzotint.metrics.extractor import Extractor
from mezzotint.metrics.neighbours import TIE, distance_blocks, radii


class PrecisionRecall(BallMetric):
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
        real, drawn = self.real.rows(self), self.drawn.rows(self)
        return torch.stack([covered(drawn, real, self.neighbours), covered(real, drawn, self.neighbours)])


def covered(rows: Tensor, centres: Tensor, neighbours: int) -> Tensor:
    """The share of rows inside the ball of at least one centre."""
    reach = radii(centres, neighbours) * (1 + TIE)
    return torch.cat([(block <= reach).any(dim=1) for block in distance_blocks(rows, centres)]).double().mean()
