"""The Frechet distance: FID where it may be called so."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.metrics.extractor import Extractor
from mezzotint.metrics.inception import Inception
from mezzotint.metrics.moments import Moments, frechet_distance
from mezzotint.metrics.statistic import FeatureMetric, short_count


class Frechet(FeatureMetric):
    """Frechet distance between real and drawn images in feature space, from streaming sums in float64.

    d^2 = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr sqrt(S1 S2), with unbiased covariances. It falls
    as n grows: compare at equal n.

    Source: Heusel et al. 2017, https://arxiv.org/abs/1706.08500; view=spatial: sFID, Nash et al. 2021,
    https://arxiv.org/abs/2103.03841

    Args:
        extractor: turns images into features.
        view: "pooled", or "spatial" for sFID.
        minimum: images, real and drawn, from which a distance over Inception is called FID.
    """

    higher_is_better = False

    def __init__(self, extractor: Extractor, view: str = "pooled", minimum: int = 2048) -> None:
        super().__init__(extractor, view)
        self.minimum = minimum
        width = extractor.widths[view]
        for side in ("real", "drawn"):
            self.add_state(f"{side}_count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
            self.add_state(f"{side}_total", torch.zeros(width, dtype=torch.float64), dist_reduce_fx="sum")
            self.add_state(f"{side}_outer", torch.zeros(width, width, dtype=torch.float64), dist_reduce_fx="sum")

    @property
    def recipe(self) -> str:
        return f"moments of {self.view}"

    def _add(self, features: Tensor, side: str, keys: Tensor) -> None:
        rows = features.to(torch.float64)
        getattr(self, f"{side}_count").add_(len(rows))
        getattr(self, f"{side}_total").add_(rows.sum(0))
        getattr(self, f"{side}_outer").addmm_(rows.T, rows)

    def moments(self, side: str) -> Moments:
        """Mean and covariance of one side, "real" or "drawn"."""
        count = int(getattr(self, f"{side}_count"))
        return Moments.of_sums(count, getattr(self, f"{side}_total"), getattr(self, f"{side}_outer"))

    def compute(self) -> Tensor:
        """The distance, float64. Raises ValueError below two images on either side."""
        distance = frechet_distance(self.moments("real"), self.moments("drawn"))
        return torch.tensor(distance, dtype=torch.float64)

    def label(self, n: int, reference: int | None = None) -> str:
        letter = {"pooled": "", "spatial": "s"}.get(self.view, f"{self.view}_")
        if self.why_not_fid(n, reference) is None:
            return f"{letter}fid_{short_count(n)}"
        return f"{letter}fd_{self.extractor.name}_{short_count(n)}"

    def notes(self, n: int, reference: int | None = None) -> list[str]:
        found = []
        reason = self.why_not_fid(n, reference)
        if reason and isinstance(self.extractor, Inception):
            found.append(f"{self.label(n, reference)} is not called FID: {reason}.")
        width = self.extractor.widths[self.view]
        if n <= width:
            found.append(f"{n} images give a singular covariance of {width} features: compare at equal n only.")
        return found

    def why_not_fid(self, n: int, reference: int | None = None) -> str | None:
        """The reason why the value is not called FID, or None where it is one."""
        if not isinstance(self.extractor, Inception):
            return f"the features are those of {self.extractor.name}, not of Inception"
        if not self.extractor.published:
            return "the Inception weights are not the published ones"
        least = n if reference is None else min(n, reference)
        if least < self.minimum:
            return f"{least} images are fewer than {self.minimum}, where the estimate is mostly bias"
        return None
