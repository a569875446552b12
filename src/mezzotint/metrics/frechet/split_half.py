"""How far two halves of the real images are from each other: the mark that a good model reaches."""

from __future__ import annotations

from statistics import median

import torch
from torch import Tensor

from mezzotint.metrics.accumulators import FeatureReservoir
from mezzotint.metrics.extractors.base import Extractor
from mezzotint.metrics.feature_metric import FeatureMetric
from mezzotint.metrics.frechet.gaussian import Moments, frechet_distance
from mezzotint.metrics.metric import short_count


class SplitHalfFrechet(FeatureMetric):
    """The median Frechet distance between two random halves of the real images; drawn images have no part in it.

    It stands beside the Frechet distance of drawn images and says what of that is chance. Halves are smaller than the
    whole, and a distance falls as the number of images grows: a model may come out below it.

    Args:
        extractor: turns images into features.
        splits: halvings, whose median is taken.
        seed: of the halvings.
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
            raise ValueError(f"SplitHalfFrechet needs at least four real images, and has {len(rows)}.")
        generator = torch.Generator().manual_seed(self.seed)
        orders = [torch.randperm(len(rows), generator=generator) for _ in range(self.splits)]
        return torch.tensor(
            median(split_half_distance(rows[order.to(rows.device)]) for order in orders), dtype=torch.float64
        )

    def reported_name(self, n: int, reference: int | None = None) -> str:
        return f"halves_{self.extractor.name}_{short_count(self.count(reference))}"

    def compared(self, n: int, reference: int | None = None) -> str:
        count = self.count(reference)
        return f"{count // 2} against {count - count // 2} images"

    def notes(self, n: int, reference: int | None = None) -> list[str]:
        name, halves = self.reported_name(n, reference), self.compared(n, reference)
        return [f"{name} is between halves, {halves}: a distance of more images comes out smaller."]

    def count(self, reference: int | None) -> int:
        """The images that are halved."""
        return len(self.real.rows()) if reference is None else min(reference, self.keep)


def split_half_distance(rows: Tensor) -> float:
    """The Frechet distance between the first and the second half of the rows."""
    first, second = rows.tensor_split(2)
    return frechet_distance(Moments.of(first), Moments.of(second))
