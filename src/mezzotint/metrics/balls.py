"""What metrics of balls share: an image's ball reaches to its k-th nearest neighbour among its own kind."""

from __future__ import annotations

from abc import ABC
from typing import ClassVar

from mezzotint.metrics.extractor import Extractor
from mezzotint.metrics.keepers import Rows
from mezzotint.metrics.statistic import FeatureMetric, short_count


class BallMetric(FeatureMetric, ABC):
    """Two numbers, each reported under its own name, from the features themselves.

    Args:
        extractor: turns images into features.
        neighbours: k.
        keep: feature rows of each side held in memory.
    """

    higher_is_better = True
    names: ClassVar[tuple[str, str]]

    def __init__(self, extractor: Extractor, neighbours: int, keep: int) -> None:
        if neighbours < 1:
            raise ValueError(f"neighbours={neighbours}: give 1 or more.")
        self.real, self.drawn = Rows("real", keep), Rows("drawn", keep)
        super().__init__(extractor, (self.real, self.drawn))
        self.neighbours = neighbours
        self.keep = keep

    def label(self, n: int, reference: int | None = None) -> str:
        return f"{self.extractor.name}_{short_count(min(n, self.keep))}"

    def least(self) -> dict[str, int]:
        return {"real": self.neighbours + 1, "drawn": self.neighbours + 1}

    def values(self, n: int, reference: int | None = None) -> dict[str, float]:
        names = (f"{name}_{self.label(n, reference)}" for name in self.names)
        return dict(zip(names, self.compute().tolist(), strict=True))
