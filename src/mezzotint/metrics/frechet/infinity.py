"""FID-infinity: the Frechet distance extrapolated to infinitely many generated images."""

from __future__ import annotations

from itertools import count

import torch
from torch import Tensor

from mezzotint.metrics.accumulators import FeatureReservoir, MomentSums
from mezzotint.metrics.extractors.base import Extractor
from mezzotint.metrics.feature_metric import FeatureMetric
from mezzotint.metrics.frechet.fid import MINIMUM, frechet_name, name_notes
from mezzotint.metrics.gaussian import Moments, frechet_distance
from mezzotint.metrics.metric import short_count


class FrechetInfinity(FeatureMetric):
    """Intercept of a least-squares line through d^2 against 1/m, with m from half of the generated images to all.

    The bias of d^2 is close to linear in 1/m once m is well above the number of features; the bias due to the finite
    reference remains. The m images are the first in the order of their content hashes, with copies spread evenly: a
    reproducible random choice.

    Source: Chong and Forsyth 2020, sec. 3, https://arxiv.org/abs/1911.07023 (who start at 5,000 of 50,000)

    Args:
        extractor: turns images into features.
        points: number of sizes m, equally spaced.
        first: the smallest m as a fraction of the images.
        keep: feature rows of generated images held in memory.
        minimum: real and generated images required to call a distance over Inception FID.
    """

    natural = ("minimum",)

    higher_is_better = False

    def __init__(
        self,
        extractor: Extractor,
        points: int = 8,
        first: float = 0.5,
        keep: int = 50_000,
        minimum: int = MINIMUM,
    ) -> None:
        if points < 2 or not 0 < first < 1:
            raise ValueError(
                f"points={points}, first={first}: give at least two points, and a fraction between 0 and 1."
            )
        self.real, self.generated = MomentSums("real"), FeatureReservoir("generated", keep)
        super().__init__(extractor, (self.real, self.generated))
        self.points = points
        self.first = first
        self.keep = keep
        self.minimum = minimum

    def min_images(self) -> dict[str, int]:
        return {"real": 2, "generated": next(n for n in count(3) if 2 <= round(self.first * n) < n)}

    def compute(self) -> Tensor:
        """The extrapolated distance, float64; possibly slightly negative. Raises ValueError for too few images."""
        real, generated = self.real.moments(), self.generated.shuffled()
        sizes = torch.linspace(self.first * len(generated), len(generated), self.points).round().to(torch.int64)
        if not 2 <= sizes[0] < sizes[-1]:
            raise ValueError(f"an extrapolation from {len(generated)} samples is not possible: generate more.")
        distances = [frechet_distance(real, Moments.of(generated[:size])) for size in sizes.tolist()]
        return _intercept(1 / sizes.double(), torch.tensor(distances, dtype=torch.float64))

    def reported_name(self, n: int, reference: int | None = None) -> str:
        n = min(n, self.keep)
        return f"{frechet_name(self.extractor, n, reference, self.minimum)}_infinity_{short_count(n)}"

    def notes(self, n: int, reference: int | None = None) -> list[str]:
        kept = min(n, self.keep)
        label = self.reported_name(n, reference)
        found = name_notes(label, self.extractor, kept, reference, self.minimum)
        least = round(self.first * kept)
        if least <= self.width:
            found.append(f"{label} extrapolates from {least} examples: {self.width} features need more.")
        return found


def _intercept(x: Tensor, y: Tensor) -> Tensor:
    """Return the intercept of the least-squares line through the points."""
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    return y.mean() - slope * x.mean()
