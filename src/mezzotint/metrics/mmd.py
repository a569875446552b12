"""Maximum mean discrepancies: the kernel distance (KID over Inception features) and CMMD."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.metrics.accumulators import FeatureReservoir
from mezzotint.metrics.extractors.base import Extractor
from mezzotint.metrics.feature_metric import FeatureMetric
from mezzotint.metrics.metric import Error, short_count

BLOCK = 1024  # rows of a kernel matrix in memory at a time


class KernelDistance(FeatureMetric):
    """Unbiased squared maximum mean discrepancy under k(x, y) = (x.y / d + 1)^3, averaged over random subsets.

    Being unbiased, it can be slightly negative, and values at different n are comparable. The subsets depend on `seed`
    and the images alone, not on the number of processes.

    Source: Binkowski et al. 2018, eq. 4 and sec. 4, https://arxiv.org/abs/1801.01401

    Args:
        extractor: turns images into features.
        subsets: number of subsets.
        size: rows of each side in a subset; fewer if there are fewer images.
        seed: of the subsets.
        keep: feature rows of each side held in memory.
    """

    higher_is_better = False

    def __init__(
        self, extractor: Extractor, subsets: int = 100, size: int = 1000, seed: int = 0, keep: int = 10_000
    ) -> None:
        self.real, self.generated = FeatureReservoir("real", keep), FeatureReservoir("generated", keep)
        super().__init__(extractor, (self.real, self.generated))
        if subsets < 1 or size < 2:
            raise ValueError(f"subsets={subsets}, size={size}: at least one subset of at least two rows is needed.")
        self.deviation = 0.0
        self.subsets = subsets
        self.size = size
        self.seed = seed
        self.keep = keep

    def distances(self) -> Tensor:
        """Return the distance of each subset, float64 (subsets,)."""
        real, generated = self.real.rows(), self.generated.rows()
        size = min(self.size, len(real), len(generated))
        generator = torch.Generator().manual_seed(self.seed)

        def choose(rows: Tensor) -> Tensor:
            orders = [torch.randperm(len(rows), generator=generator)[:size] for _ in range(self.subsets)]
            return torch.zeros(self.subsets, len(rows)).scatter_(1, torch.stack(orders), 1.0).to(rows)

        return polynomial_mmd(real, generated, choose(real), choose(generated))

    def compute(self) -> Tensor:
        """The mean over the subsets, float64. Raises ValueError below two images on either side."""
        distances = self.distances()
        self.deviation = float(distances.std(correction=0))
        return distances.mean()

    def errors(self, n: int, reference: int | None = None) -> dict[str, Error]:
        """The standard deviation over the subsets, as torch-fidelity reports it; none if every subset is the full set.

        Subsets overlap: the mean of many is about as precise as that of the n / size disjoint ones.
        """
        self.compute()
        count = min(n, self.keep, n if reference is None else reference)
        size = min(self.size, count)
        if size == count or not self.deviation:
            return {}
        of_value = self.deviation * (size / (count - size) + 1 / self.subsets) ** 0.5
        return {self.reported_name(n, reference): Error(self.deviation, f"{self.subsets} subsets of {size}", of_value)}

    def reported_name(self, n: int, reference: int | None = None) -> str:
        name = "kid" if self.extractor.name == "inception" else f"kd_{self.extractor.name}"
        return f"{name}_{short_count(min(n, self.keep))}"


def polynomial_mmd(x: Tensor, y: Tensor, in_x: Tensor, in_y: Tensor) -> Tensor:
    """Return the unbiased MMD^2 under k(a, b) = (a.b / d + 1)^3 of subsets of x (n, d) and y (m, d), all at once.

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
    """Return (a.b / d + 1)^3 for rows a (n, d) and b (m, d): (n, m)."""
    base = torch.addmm(a.new_ones(()), a, b.T, alpha=1 / a.shape[1])
    return base.square().mul_(base)


class CMMD(FeatureMetric):
    """scale MMD^2 of features of unit length under k(x, y) = exp(-|x - y|^2 / (2 sigma^2)), pairs with itself included.

    Pairing each image with itself adds a bias of about scale (1 - k) / n. Over CLIP it is called cmmd, over other
    features mmd.

    Source: Jayasumana et al. 2024, eq. 3 and sec. 4, https://arxiv.org/abs/2401.09603; the estimator is Gretton et al.
    2012, eq. 5, https://jmlr.org/papers/v13/gretton12a.html

    Args:
        extractor: turns images into features.
        sigma: width of the kernel.
        scale: factor that makes the numbers readable.
        keep: feature rows of each side held in memory; the paper uses 30,000 images.
    """

    higher_is_better = False

    def __init__(self, extractor: Extractor, sigma: float = 10.0, scale: float = 1000.0, keep: int = 30_000) -> None:
        self.real, self.generated = FeatureReservoir("real", keep), FeatureReservoir("generated", keep)
        super().__init__(extractor, (self.real, self.generated))
        if sigma <= 0 or scale <= 0:
            raise ValueError(f"sigma={sigma}, scale={scale}: give numbers above 0.")
        self.sigma = sigma
        self.scale = scale
        self.keep = keep

    def compute(self) -> Tensor:
        """The distance, float64. Raises ValueError below two images on either side."""
        real, generated = (torch.nn.functional.normalize(side.rows(), dim=1) for side in (self.real, self.generated))
        return self.scale * gaussian_mmd(real, generated, self.sigma)

    def reported_name(self, n: int, reference: int | None = None) -> str:
        name = "cmmd" if self.extractor.name == "clip" else f"mmd_{self.extractor.name}"
        return f"{name}_{short_count(min(n, self.keep))}"


def gaussian_mmd(x: Tensor, y: Tensor, sigma: float) -> Tensor:
    """Return MMD^2 of rows x (n, d) and y (m, d): mean k(x, x') + mean k(y, y') - 2 mean k(x, y), over all pairs.

    Means are taken of k - 1 = expm1(...): for large sigma k is close to 1, and the ones cancel.
    """

    def mean(a: Tensor, b: Tensor) -> Tensor:
        squares = b.square().sum(1)
        total = a.new_zeros(())
        for rows in a.split(BLOCK):
            exponent = torch.addmm(squares, rows, b.T, alpha=-2).add_(rows.square().sum(1, keepdim=True))
            total += exponent.mul_(-1 / (2 * sigma**2)).expm1_().sum()
        return total / (len(a) * len(b))

    return mean(x, x) + mean(y, y) - 2 * mean(x, y)
