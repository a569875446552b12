"""The error bar of a Frechet distance from one set of drawn images."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.metrics.accumulators import Batch, FeatureReservoir, MomentSums
from mezzotint.metrics.extractors.base import Extractor
from mezzotint.metrics.feature_metric import FeatureMetric
from mezzotint.metrics.frechet.fid import MINIMUM, frechet_name
from mezzotint.metrics.frechet.gaussian import Moments, frechet_distance
from mezzotint.metrics.metric import short_count


class LabelledRows(FeatureReservoir):
    """Feature rows with the label of each image as a last column; -1 where there are none."""

    def add(self, features: Tensor, batch: Batch) -> None:
        labels = features.new_full((len(features),), -1) if batch.labels is None else batch.labels.to(features.dtype)
        super().add(torch.cat([features, labels[:, None]], dim=1), batch)

    @property
    def row_width(self) -> int:
        return self.width + 1


class FrechetBootstrap(FeatureMetric):
    """The standard deviation of the Frechet distance over bootstrap resamples of the drawn images.

    Images with labels are resampled class by class: how many there are of each is the plan's doing and no chance. It
    errs on the large side: of 1,000 digits 0.03 to 0.05 where seeds spread by 0.01 to 0.02; 0.10 with classes shuffled.

    Only the spread is reported: a resample repeats images, and its own distance is biased upwards. The spread over
    several seed ranges of the model is the better error bar, and costs more images.

    Source: Efron 1979, https://doi.org/10.1214/aos/1176344552

    Args:
        extractor: turns images into features.
        repeats: resamples.
        seed: of the resamples.
        keep: feature rows of drawn images held in memory; of more images the error comes out too large.
        minimum: as of the Frechet distance that it stands behind.
    """

    natural = ("minimum",)

    higher_is_better = False

    def __init__(
        self,
        extractor: Extractor,
        repeats: int = 20,
        seed: int = 0,
        keep: int = 10_000,
        minimum: int = MINIMUM,
    ) -> None:
        if repeats < 2:
            raise ValueError(f"repeats={repeats}: a spread needs two resamples.")
        self.real, self.generated = MomentSums("real"), LabelledRows("generated", keep)
        super().__init__(extractor, (self.real, self.generated))
        self.repeats = repeats
        self.seed = seed
        self.keep = keep
        self.minimum = minimum

    def compute(self) -> Tensor:
        """The standard deviation, float64. Raises ValueError below two images on either side."""
        real, rows = self.real.moments(), self.generated.rows()
        drawn, labels = rows[:, :-1], rows[:, -1].cpu()
        classes = [(labels == label).nonzero().flatten() for label in labels.unique()]
        generator = torch.Generator().manual_seed(self.seed)
        distances = []
        for _ in range(self.repeats):
            chosen = torch.cat([of[torch.randint(len(of), (len(of),), generator=generator)] for of in classes])
            distances.append(frechet_distance(real, Moments.of(drawn[chosen.to(drawn.device)])))
        return torch.tensor(distances, dtype=torch.float64).std()

    def reported_name(self, n: int, reference: int | None = None) -> str:
        return f"{frechet_name(self.extractor, n, reference, self.minimum)}_{short_count(n)}_std"

    def notes(self, n: int, reference: int | None = None) -> list[str]:
        if n <= self.keep:
            return []
        return [
            f"{self.reported_name(n, reference)} is that of {self.keep} images, larger than of all {n}: raise its keep."
        ]
