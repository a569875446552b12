"""The error bar of a Frechet distance from one set of drawn images."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.metrics.extractor import Extractor
from mezzotint.metrics.frechet import frechet_name
from mezzotint.metrics.keepers import Rows, Sums
from mezzotint.metrics.moments import Moments, frechet_distance
from mezzotint.metrics.statistic import FeatureMetric, short_count


class FrechetError(FeatureMetric):
    """The standard deviation of the Frechet distance over bootstrap resamples of the drawn images.

    Only the spread is reported: a resample repeats images, and its own distance is biased upwards. The spread over
    several seed ranges of the model is the better error bar, and costs more images.

    Source: Efron 1979, https://doi.org/10.1214/aos/1176344552

    Args:
        extractor: turns images into features.
        repeats: resamples.
        seed: of the resamples.
        keep: feature rows of drawn images held in memory.
    """

    higher_is_better = False

    def __init__(self, extractor: Extractor, repeats: int = 20, seed: int = 0, keep: int = 10_000) -> None:
        if repeats < 2:
            raise ValueError(f"repeats={repeats}: a spread needs two resamples.")
        self.real, self.drawn = Sums("real"), Rows("drawn", keep)
        super().__init__(extractor, (self.real, self.drawn))
        self.repeats = repeats
        self.seed = seed
        self.keep = keep

    def compute(self) -> Tensor:
        """The standard deviation, float64. Raises ValueError below two images on either side."""
        real, drawn = self.real.moments(self), self.drawn.rows(self)
        generator = torch.Generator().manual_seed(self.seed)
        distances = []
        for _ in range(self.repeats):
            chosen = torch.randint(len(drawn), (len(drawn),), generator=generator)
            distances.append(frechet_distance(real, Moments.of(drawn[chosen.to(drawn.device)])))
        return torch.tensor(distances, dtype=torch.float64).std()

    def label(self, n: int, reference: int | None = None) -> str:
        return f"{frechet_name(self.extractor, n, reference)}_{short_count(n)}_std"
