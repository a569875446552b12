"""CMMD: the kernel distance over CLIP that makes no assumption about how features are distributed."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.metrics.extractor import Extractor
from mezzotint.metrics.keepers import Rows
from mezzotint.metrics.neighbours import BLOCK
from mezzotint.metrics.statistic import FeatureMetric, short_count


class Cmmd(FeatureMetric):
    """scale MMD^2 of features of unit length under k(x, y) = exp(-|x - y|^2 / (2 sigma^2)), pairs with itself included.

    Counting each image's pair with itself adds about scale (1 - k) / n of bias, which falls as n grows. Over CLIP it
    is called cmmd, over other features mmd.

    Source: Jayasumana et al. 2024, eq. 3 and sec. 4, https://arxiv.org/abs/2401.09603; the estimator is Gretton et al.
    2012, eq. 5, https://jmlr.org/papers/v13/gretton12a.html

    Args:
        extractor: turns images into features.
        sigma: width of the kernel.
        scale: what makes the numbers readable.
        keep: feature rows of each side held in memory; the paper uses 30,000 images.
    """

    higher_is_better = False

    def __init__(self, extractor: Extractor, sigma: float = 10.0, scale: float = 1000.0, keep: int = 30_000) -> None:
        self.real, self.drawn = Rows("real", keep), Rows("drawn", keep)
        super().__init__(extractor, (self.real, self.drawn))
        if sigma <= 0 or scale <= 0:
            raise ValueError(f"sigma={sigma}, scale={scale}: both must be above 0.")
        self.sigma = sigma
        self.scale = scale
        self.keep = keep

    def compute(self) -> Tensor:
        """The distance, float64. Raises ValueError below two images on either side."""
        real, drawn = (torch.nn.functional.normalize(side.rows(self), dim=1) for side in (self.real, self.drawn))
        return self.scale * gaussian_mmd(real, drawn, self.sigma)

    def label(self, n: int, reference: int | None = None) -> str:
        name = "cmmd" if self.extractor.name == "clip" else f"mmd_{self.extractor.name}"
        return f"{name}_{short_count(min(n, self.keep))}"


def gaussian_mmd(x: Tensor, y: Tensor, sigma: float) -> Tensor:
    """MMD^2 of rows x (n, d) and y (m, d): mean k(x, x') + mean k(y, y') - 2 mean k(x, y), over all pairs.

    It is the sum of means of k - 1 = expm1(...), for k is close to 1 where sigma is large and the ones cancel.
    """

    def mean(a: Tensor, b: Tensor) -> Tensor:
        squares = b.square().sum(1)
        total = a.new_zeros(())
        for rows in a.split(BLOCK):
            exponent = torch.addmm(squares, rows, b.T, alpha=-2).add_(rows.square().sum(1, keepdim=True))
            total += exponent.mul_(-1 / (2 * sigma**2)).expm1_().sum()
        return total / (len(a) * len(b))

    return mean(x, x) + mean(y, y) - 2 * mean(x, y)
