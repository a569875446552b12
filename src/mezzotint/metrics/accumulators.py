"""Accumulators: the sums or feature rows that a metric keeps of one side, the real or the generated images.

The tensors are states of the metric, because torchmetrics resets, moves and merges those; an accumulator is the typed
view of its own. A metric makes one for each side and passes them to `FeatureMetric.__init__`; in `compute` it reads
`MomentSums.moments()` or `FeatureReservoir.rows()`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from mezzotint.diffusion import KeyedRandom
from mezzotint.metrics.gaussian import Moments

GOLDEN = -7046029254386353131  # 2^64 / golden ratio, odd, as an int64
SIDES = {
    "real": "real rows",
    "generated": "drawn rows",
}  # with the purpose that keys their random choices: never change


@dataclass(frozen=True)
class Batch:
    """Attributes of a batch of images, besides their features.

    Args:
        keys: int64 (B,), hashes of the content, as returned by `content_keys`.
        index: int64 (B,), the number of each image in its set, independent of batch and process.
        labels: int64 (B,), or None without classes.
    """

    keys: Tensor
    index: Tensor
    labels: Tensor | None = None


class Accumulator(ABC):
    """The states of one side of a metric, "real" or "generated", which prefixes their names.

    Raises:
        ValueError: another side.
    """

    capacity: float = float("inf")  # images that it can hold

    def __init__(self, side: str) -> None:
        if side not in SIDES:
            raise ValueError(f"side={side!r}: give 'real' or 'generated'.")
        self.side = side

    def register_states(self, metric: Metric, width: int) -> None:
        """Give the metric empty states for features of this width; called once, by `FeatureMetric.__init__`."""
        self.metric, self.width = metric, width
        for part, (default, reduction) in self.defaults(width).items():
            metric.add_state(f"{self.side}_{part}", default, dist_reduce_fx=reduction)

    @property
    @abstractmethod
    def cache_key(self) -> str:
        """Identifies how the states follow from features: accumulators of equal keys share cached states."""

    @abstractmethod
    def defaults(self, width: int) -> dict[str, tuple[Tensor | list, str]]:
        """The empty states by name, each with how torchmetrics merges it across processes ("sum", "cat")."""

    @abstractmethod
    def add(self, features: Tensor, batch: Batch) -> None:
        """Add rows (B, d)."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """The states by their names in the metric, each as one tensor."""

    @abstractmethod
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Replace the states."""

    def prepare_sync(self) -> None:
        """Make states mergeable, for every process must hold tensors of the same kind."""
        return


class SumAccumulator(Accumulator, ABC):
    """Counts in int64 and sums in float64: constant memory, merged across processes by adding."""

    @abstractmethod
    def shapes(self, width: int) -> dict[str, tuple[int, ...]]:
        """The shape of each state; the one called "count" holds integers."""

    def defaults(self, width: int) -> dict[str, tuple[Tensor | list, str]]:
        kinds = {"count": torch.int64}
        shapes = self.shapes(width)
        return {part: (torch.zeros(of, dtype=kinds.get(part, torch.float64)), "sum") for part, of in shapes.items()}

    def state(self) -> dict[str, Tensor]:
        return {name: getattr(self.metric, name) for name in (f"{self.side}_{part}" for part in self.shapes(0))}

    def load(self, state: Mapping[str, Tensor]) -> None:
        for name in self.state():
            setattr(self.metric, name, state[name].to(self.metric.device))


class MomentSums(SumAccumulator):
    """Count, sum of x and sum of x x^T."""

    @property
    def cache_key(self) -> str:
        return "sums"

    def shapes(self, width: int) -> dict[str, tuple[int, ...]]:
        return {"count": (), "total": (width,), "outer": (width, width)}

    def add(self, features: Tensor, batch: Batch) -> None:
        rows = features.to(torch.float64)
        count, total, outer = self.state().values()
        count.add_(len(rows))
        total.add_(rows.sum(0))
        outer.addmm_(rows.T, rows)

    def moments(self) -> Moments:
        """Mean and covariance. Raises ValueError below two rows."""
        count, total, outer = self.state().values()
        return Moments.of_sums(int(count), total, outer)


class FeatureReservoir(Accumulator):
    """Feature rows in float32, at most `keep` of them, in the order of their images' content hashes.

    Which rows are kept is a random choice keyed by the index of each image alone: copies of an image are kept in
    proportion, and neither the order of the images nor their distribution over processes matters.

    Args:
        keep: rows held in memory.

    Raises:
        ValueError: keep below 2.
    """

    parts = ("rows", "keys", "chance")

    def __init__(self, side: str, keep: int = 10_000) -> None:
        super().__init__(side)
        if keep < 2:
            raise ValueError(f"keep={keep}: at least two rows are needed.")
        self.keep = self.capacity = keep

    @property
    def cache_key(self) -> str:
        return f"rows, at most {self.keep} by index"

    def defaults(self, width: int) -> dict[str, tuple[Tensor | list, str]]:
        return {part: ([], "cat") for part in self.parts}

    def add(self, features: Tensor, batch: Batch) -> None:
        chance = KeyedRandom(0, batch.index.cpu()).uniform(SIDES[self.side]).to(features.device)
        for held, part in zip(self._lists(), (features.to(torch.float32), batch.keys, chance), strict=True):
            held.append(part)
        if sum(map(len, self._lists()[0])) > 2 * self.keep:
            self.load(self.state())

    def rows(self) -> Tensor:
        """The kept rows in the order of their keys, float64 (n, d). Raises ValueError below two rows."""
        rows = self.state()[f"{self.side}_rows"] if len(self._lists()[0]) else ()
        if len(rows) < 2:
            raise ValueError(
                f"{type(self.metric).__name__} needs at least 2 {self.side} examples, and has {len(rows)}."
            )
        return rows.to(torch.float64)

    def shuffled(self) -> Tensor:
        """The same rows in a pseudo-random order, of which every prefix is a fair sample: by key, with the copies of an
        image at equal distances (golden ratio) around the circle of keys."""
        rows, keys = self.rows(), self.state()[f"{self.side}_keys"]
        copies = torch.arange(len(keys), device=keys.device) - torch.searchsorted(keys, keys)
        return rows[(keys + copies * GOLDEN).argsort(stable=True)]

    def state(self) -> dict[str, Tensor]:
        held = [dim_zero_cat(part) for part in self._lists()]
        by_key = held[1].argsort(stable=True)
        if len(by_key) > self.keep:
            by_chance = held[2][by_key].argsort(stable=True)[: self.keep]
            by_key = by_key[by_chance.sort().values]
        return {name: part[by_key] for name, part in zip(self._names, held, strict=True)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        for name in self._names:
            setattr(self.metric, name, [state[name].to(self.metric.device)])

    def prepare_sync(self) -> None:
        if not len(self._lists()[0]):
            empty = torch.empty(0, self.row_width), torch.empty(0, dtype=torch.int64), torch.empty(0).double()
            self.load(dict(zip(self._names, empty, strict=True)))

    @property
    def row_width(self) -> int:
        """Columns of a kept row."""
        return self.width

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(f"{self.side}_{part}" for part in self.parts)

    def _lists(self) -> list[list[Tensor]]:
        return [getattr(self.metric, name) for name in self._names]
