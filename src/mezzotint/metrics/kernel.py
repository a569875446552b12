"""The kernel distance: KID over Inception features."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.metrics.extractor import Extractor
from mezzotint.metrics.statistic import RowMetric, short_count


class Kernel(RowMetric):
    """Unbiased squared maximum mean discrepancy under k(x, y) = (x.y / d + 1)^3, averaged over random subsets.

    Being unbiased it can be slightly negative, and values at different n can be compared. The subsets depend on `seed` and
    the images alone, so any number of processes gives the same value.

    Source: Binkowski et al. 2018, eq. 4 and sec. 4, https://arxiv.org/abs/1801.01401

    Args:
        extractor: turns images into features.
        subsets: how many.
        size: rows of each side in a subset; fewer where there are fewer images.
        seed: of the subsets.
        keep: feature rows of each side held in memory.
    """

    higher_is_better = False

    def __init__(
        self, extractor: Extractor, subsets: int = 100, size: int = 1000, seed: int = 0, keep: int = 10_000
    ) -> None:
        super().__init__(extractor, keep=keep)
        if subsets < 1 or size < 2:
            raise ValueError(f"subsets={subsets}, size={size}: at least one subset of at least two rows is needed.")
        self.subsets = subsets
        self.size = size
        self.seed = seed

    def distances(self) -> Tensor:
        """The distance of each subset, float64 (subsets,)."""
        real, drawn = self.rows("real"), self.rows("drawn")
        size = min(self.size, len(real), len(drawn))
        generator = torch.Generator().manual_seed(self.seed)

        def choose(rows: Tensor) -> Tensor:
            return rows[torch.randperm(len(rows), generator=generator)[:size].to(rows.device)]

        return torch.stack([polynomial_mmd(choose(real), choose(drawn)) for _ in range(self.subsets)])

    def compute(self) -> Tensor:
        """The mean over the subsets, float64. Raises ValueError below two images on either side."""
        return self.distances().mean()

    def label(self, n: int, reference: int | None = None) -> str:
        name = "kid" if self.extractor.name == "inception" else f"kd_{self.extractor.name}"
        return f"{name}_{short_count(n)}"


def polynomial_mmd(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased MMD^2 of rows x (n, d) and y (m, d) under (x.y / d + 1)^3."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(rows: Tensor) -> Tensor:
        values = kernel(rows, rows)
        return (values.sum() - values.trace()) / (len(rows) * (len(rows) - 1))

    return within(x) + within(y) - 2 * kernel(x, y).mean()
