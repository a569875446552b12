"""MiFID: a Frechet distance that penalises memorised images."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.metrics.accumulators import FeatureReservoir
from mezzotint.metrics.extractors.base import Extractor
from mezzotint.metrics.feature_metric import FeatureMetric
from mezzotint.metrics.frechet.fid import MINIMUM, frechet_name, name_notes
from mezzotint.metrics.gaussian import Moments, frechet_distance
from mezzotint.metrics.metric import short_count


class MiFID(FeatureMetric):
    """d^2 / c if c < threshold, else d^2, where c is the mean over generated images of min over real ones of 1 - |cos|.

    The real images should be the training set. The threshold depends on the features: if held-out images fall below it
    too, the penalty is meaningless; `Memorisation` is calibrated and shows the copies.

    Source: Bai et al. 2021, sec. 3, https://arxiv.org/abs/2106.03062

    Args:
        extractor: turns images into features.
        threshold: the paper's epsilon, 0.1 for Inception.
        keep: feature rows of each side held in memory, to which the value is limited.
        minimum: real and generated images required to call a distance over Inception FID.
    """

    natural = ("threshold", "minimum")

    higher_is_better = False

    def __init__(
        self, extractor: Extractor, threshold: float = 0.1, keep: int = 10_000, minimum: int = MINIMUM
    ) -> None:
        self.real, self.generated = FeatureReservoir("real", keep), FeatureReservoir("generated", keep)
        super().__init__(extractor, (self.real, self.generated))
        self.threshold = threshold
        self.keep = keep
        self.minimum = minimum

    def compute(self) -> Tensor:
        """The distance, float64. Raises ValueError below two images on either side."""
        real, generated = self.real.rows(), self.generated.rows()
        closeness = mean_cosine_distance(generated, real)
        factor = closeness if closeness < self.threshold else torch.ones_like(closeness)
        return frechet_distance(Moments.of(real), Moments.of(generated)) / (factor + 1e-14)

    def reported_name(self, n: int, reference: int | None = None) -> str:
        n = min(n, self.keep)
        return f"m{frechet_name(self.extractor, n, reference, self.minimum).replace('fid', 'ifid')}_{short_count(n)}"

    def notes(self, n: int, reference: int | None = None) -> list[str]:
        n = min(n, self.keep)
        return name_notes(self.reported_name(n, reference), self.extractor, n, reference, self.minimum)


def mean_cosine_distance(rows: Tensor, others: Tensor) -> Tensor:
    """Return the mean over rows of the smallest cosine distance 1 - |cos| to any of the others."""
    directions = torch.nn.functional.normalize(others, dim=1).T
    parts = torch.nn.functional.normalize(rows, dim=1).split(1024)
    return torch.cat([1 - (part @ directions).abs().amax(dim=1) for part in parts]).mean()
