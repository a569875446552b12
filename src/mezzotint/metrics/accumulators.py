"""What a metric keeps of the features that it sees: sums, or a bounded choice of rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from mezzotint.diffusion import KeyedRandom
from mezzotint.metrics.frechet.gaussian import Moments

GOLDEN = -7046029254386353131  # 2^64 / golden ratio, odd, as an int64


@dataclass(frozen=True)
class Batch:
    """What is known of a batch of images beside their features.

    Args:
        keys: int64 (B,), hashes of the content, as of `content_keys`.
        index: int64 (B,), the place of each image in its whole set, whatever the batch and the process.
        labels: int64 (B,), or None without classes.
    """

    keys: Tensor
    index: Tensor
    labels: Tensor | None = None


@dataclass(frozen=True)
class Accumulator(ABC):
    """The states of one side of a metric, "real" or "drawn"; they lie in the metric, under names that begin with it."""

    side: str

    @property
    @abstractmethod
    def recipe(self) -> str:
        """How the states are made from features: equal recipes may share stored ones."""

    @abstractmethod
    def open(self, metric: Metric, width: int) -> None:
        """Gives the metric empty states for features of this width."""

    @abstractmethod
    def add(self, metric: Metric, features: Tensor, batch: Batch) -> None:
        """Adds rows (B, d) of a batch."""

    @abstractmethod
    def state(self, metric: Metric) -> dict[str, Tensor]:
        """The states by name, each as one tensor."""

    @abstractmethod
    def load(self, metric: Metric, state: Mapping[str, Tensor]) -> None:
        """Replaces the states."""

    def settle(self, metric: Metric, width: int) -> None:
        """Called before states are merged over processes: all must have tensors of the same kind."""
        return


@dataclass(frozen=True)
class SumAccumulator(Accumulator, ABC):
    """Counts in int64 and sums in float64: their memory does not grow, and processes merge by adding."""

    @abstractmethod
    def shapes(self, width: int) -> dict[str, tuple[int, ...]]:
        """The states and their shapes for features of this width; the one called "count" counts."""

    def open(self, metric: Metric, width: int) -> None:
        for part, shape in self.shapes(width).items():
            empty = torch.zeros(shape, dtype=torch.int64 if part == "count" else torch.float64)
            metric.add_state(f"{self.side}_{part}", empty, dist_reduce_fx="sum")

    def state(self, metric: Metric) -> dict[str, Tensor]:
        return {name: getattr(metric, name) for name in (f"{self.side}_{part}" for part in self.shapes(0))}

    def load(self, metric: Metric, state: Mapping[str, Tensor]) -> None:
        for name in self.state(metric):
            setattr(metric, name, state[name].to(metric.device))


@dataclass(frozen=True)
class MomentSums(SumAccumulator):
    """Count, sum of x and sum of x x^T."""

    @property
    def recipe(self) -> str:
        return "sums"

    def shapes(self, width: int) -> dict[str, tuple[int, ...]]:
        return {"count": (), "total": (width,), "outer": (width, width)}

    def add(self, metric: Metric, features: Tensor, batch: Batch) -> None:
        rows = features.to(torch.float64)
        count, total, outer = self.state(metric).values()
        count.add_(len(rows))
        total.add_(rows.sum(0))
        outer.addmm_(rows.T, rows)

    def moments(self, metric: Metric) -> Moments:
        """Mean and covariance. Raises ValueError below two rows."""
        count, total, outer = self.state(metric).values()
        return Moments.of_sums(int(count), total, outer)


@dataclass(frozen=True)
class FeatureReservoir(Accumulator):
    """The features themselves, in float32, at most `keep` of them, in the order of their images' content.

    Which are kept is a random choice by the index of each image and nothing else: copies of one image are kept in
    proportion, and neither the order of the images nor their spread over processes matters.
    """

    keep: int = 10_000
    parts: ClassVar[tuple[str, ...]] = ("rows", "keys", "chance")

    def __post_init__(self) -> None:
        if self.keep < 2:
            raise ValueError(f"keep={self.keep}: at least two rows are needed.")

    @property
    def recipe(self) -> str:
        return f"rows, at most {self.keep} by index"

    def open(self, metric: Metric, width: int) -> None:
        for name in self._names:
            metric.add_state(name, default=[], dist_reduce_fx="cat")

    def add(self, metric: Metric, features: Tensor, batch: Batch) -> None:
        chance = KeyedRandom(0, batch.index.cpu()).uniform(f"{self.side} rows").to(features.device)
        for held, part in zip(self._lists(metric), (features.to(torch.float32), batch.keys, chance), strict=True):
            held.append(part)
        if sum(map(len, self._lists(metric)[0])) > 2 * self.keep:
            self.load(metric, self.state(metric))

    def rows(self, metric: Metric) -> Tensor:
        """The kept rows in the order of their keys, float64 (n, d). Raises ValueError below two rows."""
        rows = self.state(metric)[f"{self.side}_rows"] if len(self._lists(metric)[0]) else ()
        if len(rows) < 2:
            raise ValueError(f"{type(metric).__name__} needs at least two {self.side} images, and has {len(rows)}.")
        return rows.to(torch.float64)

    def shuffled(self, metric: Metric) -> Tensor:
        """The same rows in an order without meaning, of which any beginning is a fair choice: by key, with the copies
        of an image at equal distances (in golden ratio) around the circle of keys."""
        rows, keys = self.rows(metric), self.state(metric)[f"{self.side}_keys"]
        copies = torch.arange(len(keys), device=keys.device) - torch.searchsorted(keys, keys)
        return rows[(keys + copies * GOLDEN).argsort(stable=True)]

    def state(self, metric: Metric) -> dict[str, Tensor]:
        held = [part if isinstance(part, Tensor) else torch.cat(part) for part in self._lists(metric)]
        by_key = held[1].argsort(stable=True)
        if len(by_key) > self.keep:
            by_chance = held[2][by_key].argsort(stable=True)[: self.keep]
            by_key = by_key[by_chance.sort().values]
        return {name: part[by_key] for name, part in zip(self._names, held, strict=True)}

    def load(self, metric: Metric, state: Mapping[str, Tensor]) -> None:
        for name in self._names:
            setattr(metric, name, [state[name].to(metric.device)])

    def settle(self, metric: Metric, width: int) -> None:
        if not len(self._lists(metric)[0]):
            empty = torch.empty(0, width), torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.float64)
            self.load(metric, dict(zip(self._names, empty, strict=True)))

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(f"{self.side}_{part}" for part in self.parts)

    def _lists(self, metric: Metric) -> list[list[Tensor]]:
        return [getattr(metric, name) for name in self._names]
