"""The kernel distance: KID over Inception features."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.metrics.extractor import Extractor
from mezzotint.metrics.keepers import Rows
from mezzotint.metrics.statistic import Error, FeatureMetric, short_count

BLOCK = 1024  # rows of a kernel matrix in memory at a time


class Kernel(FeatureMetric):
    """Unbiased squared maximum mean discrepancy under k(x, y) = (x.y / d + 1)^3, averaged over random subsets.

    Being unbiased it can be slightly negative, and values at different n can be compared. The subsets depend on `seed`
    and the images alone, so any number of processes gives the same value.

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
        self.real, self.drawn = Rows("real", keep), Rows("drawn", keep)
        super().__init__(extractor, (self.real, self.drawn))
        if subsets < 1 or size < 2:
            raise ValueError(f"subsets={subsets}, size={size}: at least one subset of at least two rows is needed.")
        self.deviation = 0.0
        self.subsets = subsets
        self.size = size
        self.seed = seed
        self.keep = keep

    def distances(self) -> Tensor:
        """The distance of each subset, float64 (subsets,)."""
        real, drawn = self.real.rows(self), self.drawn.rows(self)
        size = min(self.size, len(real), len(drawn))
        generator = torch.Generator().manual_seed(self.seed)

        def choose(rows: Tensor) -> Tensor:
            orders = [torch.randperm(len(rows), generator=generator)[:size] for _ in range(self.subsets)]
            return torch.zeros(self.subsets, len(rows)).scatter_(1, torch.stack(orders), 1.0).to(rows)

        return polynomial_mmd(real, drawn, choose(real), choose(drawn))

    def compute(self) -> Tensor:
        """The mean over the subsets, float64. Raises ValueError below two images on either side."""
        distances = self.distances()
        self.deviation = float(distances.std(correction=0))
        return distances.mean()

    def errors(self, n: int, reference: int | None = None) -> dict[str, Error]:
        """The standard deviation over the subsets, as torch-fidelity tells it; none where all are the same images.

        Subsets overlap. The mean of many is known about as well as that of disjoint ones, of which n / size fit in.
        """
        self.compute()
        count = min(n, self.keep, n if reference is None else reference)
        size = min(self.size, count)
        if size == count or not self.deviation:
            return {}
        of_value = self.deviation * (size / (count - size) + 1 / self.subsets) ** 0.5
        return {self.label(n, reference): Error(self.deviation, f"{self.subsets} subsets of {size}", of_value)}

    def label(self, n: int, reference: int | None = None) -> str:
        name = "kid" if self.extractor.name == "inception" else f"kd_{self.extractor.name}"
        return f"{name}_{short_count(min(n, self.keep))}"


def polynomial_mmd(x: Tensor, y: Tensor, in_x: Tensor, in_y: Tensor) -> Tensor:
    """Unbiased MMD^2 under k(a, b) = (a.b / d + 1)^3 of subsets of x (n, d) and y (m, d), for all subsets at once.

    A subset is a row of zeros and ones, in_x (subsets, n) and in_y (subsets, m), and its sum of kernel values is a
    quadratic form in it, so that each kernel value is computed once whatever the number of subsets.
    """

    def total(a: Tensor, b: Tensor, in_a: Tensor, in_b: Tensor) -> Tensor:
        parts = zip(a.split(BLOCK), in_a.split(BLOCK, dim=1), strict=True)
        return sum((chosen @ kernel(rows, b) * in_b).sum(1) for rows, chosen in parts)

    def within(rows: Tensor, chosen: Tensor) -> Tensor:
        itself = chosen @ (rows.square().mean(1) + 1).pow(3)
        size = chosen.sum(1)
        return (total(rows, rows, chosen, chosen) - itself) / (size * (size - 1))

    between = total(x, y, in_x, in_y) / (in_x.sum(1) * in_y.sum(1))
    return within(x, in_x) + within(y, in_y) - 2 * between


def kernel(a: Tensor, b: Tensor) -> Tensor:
    """(a.b / d + 1)^3 for rows a (n, d) and b (m, d): (n, m)."""
    base = torch.addmm(a.new_ones(()), a, b.T, alpha=1 / a.shape[1])
    return base.square().mul_(base)
