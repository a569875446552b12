"""The Frechet distance ratio over several feature spaces."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median, stdev

import torch
from torch import Tensor

from mezzotint.errors import DataError
from mezzotint.metrics.accumulators import FeatureReservoir, MomentSums
from mezzotint.metrics.extractors.base import Extractor
from mezzotint.metrics.extractors.joint import JOINT
from mezzotint.metrics.feature_metric import FeatureMetric
from mezzotint.metrics.frechet.split_half import split_half_distance
from mezzotint.metrics.gaussian import Moments, frechet_distance
from mezzotint.metrics.metric import Error, short_count


class FrechetRatio(FeatureMetric):
    """Geometric mean over feature spaces of d(samples, real) / d(half of the real, the other half).

    d is the Frechet distance. In units of the real set's own split, distances of networks whose features differ in
    scale and width can be averaged, and a model that is tuned to one of them gains little. 1 means that samples are as
    far from the real set as its halves are from each other. Halves are smaller than the set, so values below 1 occur:
    compare at equal n and equal reference.

    Source: after FDr^k of Yang et al. 2026, https://arxiv.org/abs/2604.28190, an average of normalised distances over
    several networks. Here the mean is geometric, so that the order of two models does not depend on the units, and the
    unit is the split of the reference; each ratio is reported as well.

    Args:
        extractor: two or more as one: `JointExtractor`.
        splits: number of random splits, whose median distance is the unit.
        seed: of the splits.
        keep: feature rows of real images held in memory, of which the halves are made.

    Raises:
        ValueError: a single extractor, or no split.
    """

    higher_is_better = False

    def __init__(self, extractor: Extractor, splits: int = 9, seed: int = 0, keep: int = 10_000) -> None:
        if len(extractor.parts) < 2:
            raise ValueError(
                f"FrechetRatio is a mean over several feature spaces, and extractor={extractor.name} is one: use "
                "extractor=joint, which lists them."
            )
        if splits < 1:
            raise ValueError(f"splits={splits}: give 1 or more.")
        self.real, self.generated = MomentSums("real"), MomentSums("generated")
        self.rows = FeatureReservoir("real", keep)
        super().__init__(extractor, (self.real, self.rows, self.generated), JOINT)
        self.splits, self.seed, self.keep = splits, seed, keep
        self.ratios: dict[str, list[float]] = {}

    def min_images(self) -> dict[str, int]:
        return {"real": 4, "generated": 2}

    def blocks(self) -> Iterator[tuple[str, slice]]:
        """Yield the name of each extractor, and its columns in the joint features."""
        first = 0
        for part in self.extractor.parts:
            yield part.name, slice(first, first + part.features)
            first += part.features

    def compute(self) -> Tensor:
        """The geometric mean, float64. Raises DataError where halves do not differ, ValueError of too few images."""
        rows, real, generated = self.rows.rows(), self.real.moments(), self.generated.moments()
        if len(rows) < 4:
            raise ValueError(f"FrechetRatio needs at least 4 real examples, and has {len(rows)}.")
        generator = torch.Generator().manual_seed(self.seed)
        orders = [torch.randperm(len(rows), generator=generator).to(rows.device) for _ in range(self.splits)]
        self.ratios = {}
        for name, columns in self.blocks():
            distance = frechet_distance(block(real, columns), block(generated, columns))
            halves = [split_half_distance(rows[order, columns]) for order in orders]
            if min(halves) <= 0:
                raise DataError(f"halves of the reference have equal {name} features: leave that extractor out.")
            self.ratios[name] = [distance / unit for unit in (median(halves), *halves)]
        return torch.tensor(self.means()[0], dtype=torch.float64)

    def means(self) -> list[float]:
        """Geometric means over feature spaces: by the median of the splits, then by each of them."""
        return [geometric_mean(ratios) for ratios in zip(*self.ratios.values(), strict=True)]

    def reported_name(self, n: int, reference: int | None = None) -> str:
        return f"fd_ratio_{'_'.join(part.name for part in self.extractor.parts)}_{short_count(n)}"

    def by_name(self, n: int) -> dict[str, list[float]]:
        """Ratios by reported name: by the median of the splits, then by each of them."""
        self.compute()
        each = {f"fd_ratio_{name}_{short_count(n)}": ratios for name, ratios in self.ratios.items()}
        return {self.reported_name(n): self.means(), **each}

    def values(self, n: int, reference: int | None = None) -> dict[str, float]:
        return {name: ratios[0] for name, ratios in self.by_name(n).items()}

    def errors(self, n: int, reference: int | None = None) -> dict[str, Error]:
        """Spread over the splits; the splits are of one set, so a mean over them is no more certain."""
        if self.splits < 2:
            return {}
        source = f"{self.splits} splits"
        spreads = {name: stdev(ratios[1:]) for name, ratios in self.by_name(n).items()}
        return {name: Error(spread, source, spread) for name, spread in spreads.items()}

    def compared(self, n: int, reference: int | None = None) -> str:
        count = min(reference or 0, self.keep)
        return f"halves of {count // 2} against {count - count // 2} examples" if count else ""

    def notes(self, n: int, reference: int | None = None) -> list[str]:
        half = min(reference or n, self.keep) // 2
        return [f"{self.reported_name(n)} is in units of halves of {half} examples: compare at equal n and reference."]


def block(moments: Moments, columns: slice) -> Moments:
    """Return the moments of some of the columns."""
    return Moments(moments.count, moments.mean[columns], moments.covariance[columns, columns])


def geometric_mean(values: tuple[float, ...]) -> float:
    """Return the n-th root of the product of n values; 0 if one of them is 0."""
    return math.exp(sum(map(math.log, values)) / len(values)) if min(values) > 0 else 0.0
