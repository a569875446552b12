"""The Frechet distance, called FID only over published Inception weights and enough images."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.metrics.accumulators import MomentSums
from mezzotint.metrics.extractors.base import Extractor
from mezzotint.metrics.feature_metric import FeatureMetric
from mezzotint.metrics.gaussian import frechet_distance
from mezzotint.metrics.metric import short_count

MINIMUM = 2048  # images from which a distance over Inception is called FID


class FrechetDistance(FeatureMetric):
    """Frechet distance between real and generated images in feature space, from streaming sums in float64.

    d^2 = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr sqrt(S1 S2), with unbiased covariances. Its bias falls with n: compare at
    equal n.

    Source: Heusel et al. 2017, https://arxiv.org/abs/1706.08500; view=spatial: sFID, Nash et al. 2021,
    https://arxiv.org/abs/2103.03841

    Args:
        extractor: turns images into features.
        view: "pooled", or "spatial" for sFID.
        minimum: real and generated images required to call a distance over Inception FID.
    """

    natural = ("minimum",)

    higher_is_better = False

    def __init__(self, extractor: Extractor, view: str = "pooled", minimum: int = MINIMUM) -> None:
        self.real, self.generated = MomentSums("real"), MomentSums("generated")
        super().__init__(extractor, (self.real, self.generated), view)
        self.minimum = minimum

    def compute(self) -> Tensor:
        """The distance, float64. Raises ValueError below two images on either side."""
        distance = frechet_distance(self.real.moments(), self.generated.moments())
        return torch.tensor(distance, dtype=torch.float64)

    def reported_name(self, n: int, reference: int | None = None) -> str:
        letter = {"pooled": "", "spatial": "s"}.get(self.view, f"{self.view}_")
        return f"{letter}{frechet_name(self.extractor, n, reference, self.minimum)}_{short_count(n)}"

    def notes(self, n: int, reference: int | None = None) -> list[str]:
        found = name_notes(self.reported_name(n, reference), self.extractor, n, reference, self.minimum)
        if n <= self.width:
            found.append(f"{n} samples give a singular covariance of {self.width} features: compare at equal n only.")
        return found


def frechet_name(extractor: Extractor, n: int, reference: int | None = None, minimum: int = MINIMUM) -> str:
    """Return the base of a Frechet distance's reported name: "fid", or "fd_" and the extractor's name."""
    return f"fd_{extractor.name}" if why_not_fid(extractor, n, reference, minimum) else "fid"


def name_notes(
    label: str, extractor: Extractor, n: int, reference: int | None = None, minimum: int = MINIMUM
) -> list[str]:
    """Return one line that says why a distance over Inception is not called FID; none for FID or other features."""
    reason = why_not_fid(extractor, n, reference, minimum)
    return [f"{label} is not called FID: {reason}."] if reason and extractor.named_fid else []


def why_not_fid(extractor: Extractor, n: int, reference: int | None = None, minimum: int = MINIMUM) -> str | None:
    """Return the reason why a Frechet distance is not called FID, or None if it is."""
    if not extractor.named_fid:
        return f"its features are those of {extractor.name}, not of Inception"
    if not extractor.published:
        return "the Inception weights are not the published ones"
    least = n if reference is None else min(n, reference)
    if least < minimum:
        return f"{least} examples are fewer than {minimum}, where the estimate is mostly bias"
    return None
