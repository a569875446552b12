"""The bootstrap error of a Frechet distance, estimated from one set of generated images."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.metrics.accumulators import Batch, FeatureReservoir, MomentSums
from mezzotint.metrics.extractors.base import Extractor
from mezzotint.metrics.feature_metric import FeatureMetric
from mezzotint.metrics.frechet.fid import MINIMUM, frechet_name
from mezzotint.metrics.gaussian import Moments, frechet_distance
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
    """Standard deviation of the Frechet distance over bootstrap resamples of the generated images.

    Labelled images are resampled within their class, because class counts are planned and not random. The estimate is
    conservative: 0.03 to 0.05 for 1,000 digits, whose standard deviation over seeds is 0.01 to 0.02; 0.10 if classes
    are ignored.

    Only the deviation is reported: a resample repeats images, so its distance is biased upwards. The standard deviation
    over several seeds of the model is the better error bar, and costs more images.

    Source: Efron 1979, https://doi.org/10.1214/aos/1176344552

    Args:
        extractor: turns images into features.
        repeats: number of resamples.
        seed: of the resamples.
        keep: feature rows of generated images held in memory; with more images the error is overestimated.
        minimum: as in `FrechetDistance`, whose value the error belongs to.
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
            raise ValueError(f"repeats={repeats}: give 2 or more, for a standard deviation.")
        self.real, self.generated = MomentSums("real"), LabelledRows("generated", keep)
        super().__init__(extractor, (self.real, self.generated))
        self.repeats = repeats
        self.seed = seed
        self.keep = keep
        self.minimum = minimum

    def compute(self) -> Tensor:
        """The standard deviation, float64. Raises ValueError below two images on either side."""
        real, rows = self.real.moments(), self.generated.rows()
        generated, labels = rows[:, :-1], rows[:, -1].cpu()
        classes = [(labels == label).nonzero().flatten() for label in labels.unique()]
        generator = torch.Generator().manual_seed(self.seed)
        distances = []
        for _ in range(self.repeats):
            chosen = torch.cat([of[torch.randint(len(of), (len(of),), generator=generator)] for of in classes])
            distances.append(frechet_distance(real, Moments.of(generated[chosen.to(generated.device)])))
        return torch.tensor(distances, dtype=torch.float64).std()

    def reported_name(self, n: int, reference: int | None = None) -> str:
        return f"{frechet_name(self.extractor, n, reference, self.minimum)}_{short_count(n)}_std"

    def notes(self, n: int, reference: int | None = None) -> list[str]:
        if n <= self.keep:
            return []
        name = self.reported_name(n, reference)
        return [f"{name} is estimated from {self.keep} of {n} samples, which overestimates it: raise its keep."]
