"""The Frechet distance between halves of the real images: a baseline for the distance of samples."""

from __future__ import annotations

from statistics import median

import torch
from torch import Tensor

from mezzotint.metrics.accumulators import FeatureReservoir
from mezzotint.metrics.extractors.base import Extractor
from mezzotint.metrics.feature_metric import FeatureMetric
from mezzotint.metrics.gaussian import Moments, frechet_distance
from mezzotint.metrics.metric import short_count


class SplitHalfFrechet(FeatureMetric):
    """Median Frechet distance between two random halves of the real images; generated images play no part.

    It shows how much of the Frechet distance of samples is due to chance. Halves are smaller than the set, and the bias
    of a distance falls with the number of images, so a model may score below it.

    Args:
        extractor: turns images into features.
        splits: number of random splits, whose median is taken.
        seed: of the splits.
        keep: feature rows of real images held in memory.
    """

    higher_is_better = False
    of_reference = True

    def __init__(self, extractor: Extractor, splits: int = 9, seed: int = 0, keep: int = 10_000) -> None:
        if splits < 1:
            raise ValueError(f"splits={splits}: give 1 or more.")
        self.real = FeatureReservoir("real", keep)
        super().__init__(extractor, (self.real,))
        self.splits = splits
        self.seed = seed
        self.keep = keep

    def min_images(self) -> dict[str, int]:
        return {"real": 4}

    def compute(self) -> Tensor:
        """The distance, float64. Raises ValueError below four real images."""
        rows = self.real.rows()
        if len(rows) < 4:
            raise ValueError(f"SplitHalfFrechet needs at least 4 real examples, and has {len(rows)}.")
        generator = torch.Generator().manual_seed(self.seed)
        orders = [torch.randperm(len(rows), generator=generator) for _ in range(self.splits)]
        return torch.tensor(
            median(split_half_distance(rows[order.to(rows.device)]) for order in orders), dtype=torch.float64
        )

    def reported_name(self, n: int, reference: int | None = None) -> str:
        return f"halves_{self.extractor.name}_{short_count(self.count(reference))}"

    def compared(self, n: int, reference: int | None = None) -> str:
        count = self.count(reference)
        return f"{count // 2} against {count - count // 2} examples"

    def notes(self, n: int, reference: int | None = None) -> list[str]:
        name, halves = self.reported_name(n, reference), self.compared(n, reference)
        return [f"{name} is between halves, {halves}: the distance of larger sets is smaller."]

    def count(self, reference: int | None) -> int:
        """Return the number of images that are split."""
        return len(self.real.rows()) if reference is None else min(reference, self.keep)


def split_half_distance(rows: Tensor) -> float:
    """Return the Frechet distance between the first and the second half of the rows."""
    first, second = rows.tensor_split(2)
    return frechet_distance(Moments.of(first), Moments.of(second))
