"""What a metric over features is: streaming updates, states that merge over ranks and never change their precision."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from mezzotint.distributed import rank_and_world
from mezzotint.errors import ConfigError, DataError
from mezzotint.instantiate.finite import Finite
from mezzotint.metrics.accumulators import Accumulator, Batch, FeatureReservoir
from mezzotint.metrics.extractors.base import Extractor

CHUNK = 1 << 22  # pixels whose keys are found at a time, eight bytes for each


@dataclass(frozen=True)
class Error:
    """How far a value may be off.

    Args:
        size: one standard deviation, as it is written behind the value.
        source: what it was found from: "3 seeds", "bootstrap", "standard error", "100 subsets".
        of_value: standard error of the value itself, which as a mean of k seeds is known better by sqrt(k).
    """

    size: float
    source: str
    of_value: float


class FeatureMetric(Metric, metaclass=Finite):
    """A torchmetrics.Metric over one view of an extractor's features.

    Half precision asked of a module leaves its states alone. Its state dict is empty.

    Args:
        extractor: turns uint8 images into features.
        keepers: what is kept of real and of drawn images.
        view: which of the extractor's views.

    Raises:
        ValueError: the extractor has no such view.
    """

    looks_at: ClassVar[tuple[str, ...]] = ()  # splits of the dataset, beside the reference
    is_differentiable = False
    full_state_update = False

    def __init__(self, extractor: Extractor, keepers: Sequence[Accumulator], view: str = "pooled") -> None:
        super().__init__()
        if view not in extractor.widths:
            raise ValueError(
                f"{type(self).__name__} needs view={view}, and extractor={extractor.name} has "
                f"{', '.join(extractor.widths)}. Leave this metric out, or choose another extractor: inception has all."
            )
        self.extractor = extractor
        self.keepers = tuple(keepers)
        self._come = {"real": 0, "drawn": 0}  # images so far
        self.view = view
        for keeper in self.keepers:
            keeper.open(self, self.width)

    def update(self, images: Tensor, real: bool, labels: Tensor | None = None, index: Tensor | None = None) -> None:
        """Adds uint8 images (B, C, H, W), real or drawn.

        Args:
            labels: int64 (B,), for metrics by class.
            index: int64 (B,), the number of each image in its whole set, by which random choices are made. By default
                images are numbered as they come, of several processes in turn.
        """
        self._take(self.extractor.views(images)[self.view], real, content_keys(images), labels, index)

    def update_features(
        self,
        features: Tensor,
        real: bool,
        keys: Tensor | None = None,
        labels: Tensor | None = None,
        index: Tensor | None = None,
    ) -> None:
        """Adds feature rows (B, d) that the extractor gave for the same view; keys as of `content_keys`.

        Raises:
            ValueError: another width. DataError: a feature that is not finite.
        """
        self.touch()
        self._take(features, real, feature_keys(features) if keys is None else keys, labels, index)

    def reset(self) -> None:
        """Forgets all images."""
        super().reset()
        self._come = {"real": 0, "drawn": 0}

    @abstractmethod
    def label(self, n: int, reference: int | None = None) -> str:
        """The name under which the value is reported, for n drawn images and so many reference images."""

    def values(self, n: int, reference: int | None = None) -> dict[str, float]:
        """What to report, by name."""
        return {self.label(n, reference): float(self.compute())}

    def errors(self, n: int, reference: int | None = None) -> dict[str, Error]:
        """How far values may be off, by their names, where the metric knows it by itself."""
        return {}

    def notes(self, n: int, reference: int | None = None) -> list[str]:
        """What a reader of the value should know."""
        return []

    def compared(self, n: int, reference: int | None = None) -> str:
        """What the value compares, in words, where its name does not say it."""
        return ""

    def settings(self) -> dict[str, Any]:
        """The class and its arguments, for the protocol."""
        names = [name for name in inspect.signature(type(self)).parameters if name != "extractor"]
        arguments = {name: getattr(self, name) for name in names}
        return {"metric": type(self).__name__, "extractor": self.extractor.name, **arguments}

    def least(self) -> dict[str, int]:
        """How many images a value needs, by side: "real", "drawn"."""
        return {keeper.side: 2 for keeper in self.keepers}

    def expect(self, n: int | None = None, reference: int | None = None) -> None:
        """Raises ConfigError where n drawn images or so many reference images are too few; None is not known."""
        for side, count in (("drawn", n), ("real", reference)):
            held = [
                keeper.keep for keeper in self.keepers if keeper.side == side and isinstance(keeper, FeatureReservoir)
            ]
            if held and min(held) < self.least().get(side, 0):
                raise ConfigError(
                    f"{type(self).__name__} needs {self.least()[side]} or more {side} images, and keep={min(held)} "
                    "holds fewer. Raise keep."
                )
            if count is not None and count < self.least().get(side, 0):
                raise ConfigError(
                    f"{type(self).__name__} needs {self.least()[side]} or more {side} images, and there "
                    f"{'is' if count == 1 else 'are'} {count}. Give more, or leave this metric out."
                )

    @property
    def width(self) -> int:
        """Features of a row."""
        return self.extractor.widths[self.view]

    @property
    def real_keepers(self) -> list[Accumulator]:
        """What it needs of the reference."""
        return [keeper for keeper in self.keepers if keeper.side == "real"]

    def touch(self) -> None:
        """Says that states have changed outside `update`: a value computed before no longer holds."""
        self._computed = None
        self._update_count += 1

    def _take(self, features: Tensor, real: bool, keys: Tensor, labels: Tensor | None, index: Tensor | None) -> None:
        if features.dim() != 2 or features.shape[1] != self.width:
            raise ValueError(
                f"{self.view} features of {self.extractor.name} have shape (B, {self.width}), "
                f"not {tuple(features.shape)}."
            )
        side = "real" if real else "drawn"
        if not torch.isfinite(features).all():
            raise DataError(
                f"features of {side} images by extractor={self.extractor.name} are not finite: its weights are damaged."
            )
        if index is None:
            rank, world = rank_and_world()
            index = (torch.arange(len(features)) + self._come[side]) * world + rank
        self._come[side] += len(features)
        placed = [None if part is None else part.to(self.device) for part in (keys, index, labels)]
        for keeper in self.keepers:
            if keeper.side == side:
                keeper.add(self, features.to(self.device), Batch(*placed))

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> FeatureMetric:
        """Moves states between devices and ignores every change of precision."""
        super()._apply(lambda tensor: tensor.to(fn(tensor.new_empty(0)).device), exclude_state)
        return self

    def _sync_dist(self, *args: Any, **kwargs: Any) -> None:
        for keeper in self.keepers:
            keeper.settle(self, self.width)
        super()._sync_dist(*args, **kwargs)


def content_keys(images: Tensor) -> Tensor:
    """int64 (B,): a hash of each image's content, the same on every device and in every batch.

    The sum of value times a fixed random number, modulo 2^64.
    """
    flat = images.flatten(1)
    generator = torch.Generator().manual_seed(flat.shape[1])
    bounds = torch.iinfo(torch.int64)
    weights = torch.randint(bounds.min, bounds.max, (flat.shape[1],), generator=generator).to(flat.device)
    parts = flat.split(max(1, CHUNK // flat.shape[1]))
    return torch.cat([((part.to(torch.int64) + 1) * weights).sum(1) for part in parts])


def feature_keys(features: Tensor) -> Tensor:
    """`content_keys` of the features' bits, where the images are not at hand."""
    return content_keys(features.to(torch.float32).contiguous().view(torch.uint8))


def short_count(n: int) -> str:
    """How a number of images stands in a name: 1000, 1797, 2048, 5k, 50k."""
    return f"{n // 1000}k" if n >= 3000 and n % 1000 == 0 else str(n)
