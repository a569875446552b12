"""What a metric keeps of the features that it sees: sums, or a bounded choice of rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics import Metric

from mezzotint.metrics.moments import Moments


@dataclass(frozen=True)
class Keeper(ABC):
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
    def add(self, metric: Metric, features: Tensor, keys: Tensor, labels: Tensor | None) -> None:
        """Adds rows (B, d) with their keys (B,) and, where there are classes, labels (B,)."""

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
class Totals(Keeper, ABC):
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
class Sums(Totals):
    """Count, sum of x and sum of x x^T."""

    @property
    def recipe(self) -> str:
        return "sums"

    def shapes(self, width: int) -> dict[str, tuple[int, ...]]:
        return {"count": (), "total": (width,), "outer": (width, width)}

    def add(self, metric: Metric, features: Tensor, keys: Tensor, labels: Tensor | None) -> None:
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
class Rows(Keeper):
    """The features themselves, in float32, at most `keep` of them.

    Each row goes with a key made from the image's content. Kept are the rows of the smallest keys, which is a random
    choice that depends neither on the order of the images nor on how they were spread over processes.
    """

    keep: int = 10_000

    def __post_init__(self) -> None:
        if self.keep < 2:
            raise ValueError(f"keep={self.keep}: at least two rows are needed.")

    @property
    def recipe(self) -> str:
        return f"rows, at most {self.keep}"

    def open(self, metric: Metric, width: int) -> None:
        metric.add_state(f"{self.side}_rows", default=[], dist_reduce_fx="cat")
        metric.add_state(f"{self.side}_keys", default=[], dist_reduce_fx="cat")

    def add(self, metric: Metric, features: Tensor, keys: Tensor, labels: Tensor | None) -> None:
        rows, kept = self._lists(metric)
        rows.append(features.to(torch.float32))
        kept.append(keys)
        if sum(map(len, rows)) > 2 * self.keep:
            self.load(metric, self.state(metric))

    def rows(self, metric: Metric) -> Tensor:
        """The kept rows in the order of their keys, float64 (n, d). Raises ValueError below two rows."""
        rows = self.state(metric)[f"{self.side}_rows"] if len(self._lists(metric)[0]) else ()
        if len(rows) < 2:
            raise ValueError(f"{type(metric).__name__} needs at least two {self.side} images, and has {len(rows)}.")
        return rows.to(torch.float64)

    def state(self, metric: Metric) -> dict[str, Tensor]:
        rows, keys = (part if isinstance(part, Tensor) else torch.cat(part) for part in self._lists(metric))
        order = keys.argsort(stable=True)[: self.keep]
        return {f"{self.side}_rows": rows[order], f"{self.side}_keys": keys[order]}

    def load(self, metric: Metric, state: Mapping[str, Tensor]) -> None:
        for name in (f"{self.side}_rows", f"{self.side}_keys"):
            setattr(metric, name, [state[name].to(metric.device)])

    def settle(self, metric: Metric, width: int) -> None:
        if not len(self._lists(metric)[0]):
            empty = torch.empty(0, width), torch.empty(0, dtype=torch.int64)
            self.load(metric, dict(zip((f"{self.side}_rows", f"{self.side}_keys"), empty, strict=True)))

    def _lists(self, metric: Metric) -> tuple[list[Tensor], list[Tensor]]:
        return getattr(metric, f"{self.side}_rows"), getattr(metric, f"{self.side}_keys")
