"""Metrics of features: streaming updates, and states that merge across ranks and keep their precision."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torchmetrics
from torch import Tensor

from mezzotint.distributed import rank_and_world
from mezzotint.errors import ConfigError, DataError
from mezzotint.metrics.accumulators import Accumulator, Batch
from mezzotint.metrics.extractors.base import Extractor
from mezzotint.metrics.metric import Context, Error, Measured, Metric

CHUNK = 1 << 22  # pixels that are hashed at a time, eight bytes each


class FeatureMetric(torchmetrics.Metric, Metric):
    """A torchmetrics.Metric over one view of an extractor's features.

    Casting a parent module to half precision leaves its states alone. Its state dict is empty.

    Args:
        extractor: turns uint8 images into features.
        accumulators: what is kept of the real and of the generated images.
        view: one of the extractor's views.

    Raises:
        ValueError: the extractor has no such view.
    """

    is_differentiable = False
    full_state_update = False

    def __init__(self, extractor: Extractor, accumulators: Sequence[Accumulator], view: str = "pooled") -> None:
        super().__init__()
        if view not in extractor.widths:
            raise ValueError(
                f"{type(self).__name__} needs view={view}, and extractor={extractor.name} has "
                f"{', '.join(extractor.widths)}. Leave this metric out, or choose another extractor: inception has all."
            )
        self.extractor = extractor
        self.accumulators = tuple(accumulators)
        self._seen = {"real": 0, "generated": 0}
        self.view = view
        for accumulator in self.accumulators:
            accumulator.register_states(self, self.width)

    def update(self, images: Tensor, real: bool, labels: Tensor | None = None, index: Tensor | None = None) -> None:
        """Add uint8 images (B, C, H, W), real or generated.

        Args:
            labels: int64 (B,), for metrics by class.
            index: int64 (B,), the number of each image in its set, which keys random choices. By default images are
                numbered in order of arrival, interleaved across processes.
        """
        self._add(self.extractor.views(images)[self.view], real, content_keys(images), labels, index)

    def update_features(
        self,
        features: Tensor,
        real: bool,
        keys: Tensor | None = None,
        labels: Tensor | None = None,
        index: Tensor | None = None,
    ) -> None:
        """Add feature rows (B, d) of the same extractor and view; keys as returned by `content_keys`.

        Raises:
            ValueError: another width. DataError: a feature that is not finite.
        """
        self.mark_updated()
        self._add(features, real, feature_keys(features) if keys is None else keys, labels, index)

    def reset(self) -> None:
        """Remove all images."""
        super().reset()
        self._seen = {"real": 0, "generated": 0}

    @abstractmethod
    def reported_name(self, n: int, reference: int | None = None) -> str:
        """The name of the value for n generated images and this many reference images."""

    def values(self, n: int, reference: int | None = None) -> dict[str, float]:
        """Values by reported name."""
        return {self.reported_name(n, reference): float(self.compute())}

    def errors(self, n: int, reference: int | None = None) -> dict[str, Error]:
        """Uncertainties by reported name, where the metric can estimate them."""
        return {}

    def notes(self, n: int, reference: int | None = None) -> list[str]:
        """Caveats for the reader of the value."""
        return []

    def compared(self, n: int, reference: int | None = None) -> str:
        """The sets that the value compares, where its name does not say so; else empty."""
        return ""

    def measure(self, context: Context) -> Measured:
        """Values of the features that have been added. Raises ValueError if the context has no number of samples."""
        if context.n is None:
            raise ValueError("the number of samples must be known to name a value: give n to the context")
        counts = (context.n, context.reference)
        values = self.values(*counts)
        compared = {"compared": said} if (said := self.compared(*counts)) else {}
        return Measured(values, self.errors(*counts), self.notes(*counts), compared)

    def settings(self) -> dict[str, Any]:
        names = [name for name in inspect.signature(type(self)).parameters if name != "extractor"]
        arguments = {name: getattr(self, name) for name in names}
        return {"metric": type(self).__name__, "extractor": self.extractor.name, **arguments}

    @property
    def extractors(self) -> tuple[Extractor, ...]:
        return self.extractor.parts

    def min_images(self) -> dict[str, int]:
        return {accumulator.side: 2 for accumulator in self.accumulators}

    def validate(self, context: Context) -> None:
        for side, count in (("generated", context.n), ("real", context.reference)):
            least = self.min_images().get(side, 0)
            capacity = min((one.capacity for one in self.accumulators if one.side == side), default=least)
            if capacity < least:
                raise ConfigError(
                    f"{type(self).__name__} needs at least {least} {side} examples, and keep={capacity:g} holds fewer. "
                    "Raise keep."
                )
            if count is not None and count < least:
                raise ConfigError(
                    f"{type(self).__name__} needs at least {least} {side} examples, and there "
                    f"{'is' if count == 1 else 'are'} {count}. Give more, or leave this metric out."
                )

    @property
    def width(self) -> int:
        """The number of features in a row."""
        return self.extractor.widths[self.view]

    @property
    def reference_accumulators(self) -> list[Accumulator]:
        """The accumulators of the real images."""
        return [accumulator for accumulator in self.accumulators if accumulator.side == "real"]

    @property
    def uses_samples(self) -> bool:
        """True if the value depends on generated images."""
        return any(accumulator.side == "generated" for accumulator in self.accumulators)

    def mark_updated(self) -> None:
        """Discard the cached value after states changed outside `update`."""
        self._computed = None
        self._update_count += 1

    def _add(self, features: Tensor, real: bool, keys: Tensor, labels: Tensor | None, index: Tensor | None) -> None:
        if features.dim() != 2 or features.shape[1] != self.width:
            raise ValueError(
                f"{self.view} features of {self.extractor.name} have shape (B, {self.width}), "
                f"not {tuple(features.shape)}."
            )
        side = "real" if real else "generated"
        if not torch.isfinite(features).all():
            raise DataError(
                f"features of {side} examples by extractor={self.extractor.name} are not finite: its weights are "
                "damaged."
            )
        if index is None:
            rank, world = rank_and_world()
            index = (torch.arange(len(features)) + self._seen[side]) * world + rank
        self._seen[side] += len(features)
        on_device = [None if part is None else part.to(self.device) for part in (keys, index, labels)]
        for accumulator in self.accumulators:
            if accumulator.side == side:
                accumulator.add(features.to(self.device), Batch(*on_device))

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> FeatureMetric:
        """Move states between devices, ignoring changes of precision."""
        super()._apply(lambda tensor: tensor.to(fn(tensor.new_empty(0)).device), exclude_state)
        return self

    def _sync_dist(self, *args: Any, **kwargs: Any) -> None:
        for accumulator in self.accumulators:
            accumulator.prepare_sync()
        super()._sync_dist(*args, **kwargs)


def feature_metrics(metrics: Mapping[str, Metric]) -> dict[str, FeatureMetric]:
    """The metrics that accumulate features, by name."""
    return {name: metric for name, metric in metrics.items() if isinstance(metric, FeatureMetric)}


def content_keys(images: Tensor) -> Tensor:
    """Return a hash of each image's content, int64 (B,), the same on every device and in every batch.

    The sum of value times a fixed random number, modulo 2^64.
    """
    flat = images.flatten(1)
    if flat.dtype != torch.uint8:
        flat = flat.contiguous().view(torch.uint8)
    generator = torch.Generator().manual_seed(flat.shape[1])
    bounds = torch.iinfo(torch.int64)
    weights = torch.randint(bounds.min, bounds.max, (flat.shape[1],), generator=generator).to(flat.device)
    parts = flat.split(max(1, CHUNK // flat.shape[1]))
    return torch.cat([((part.to(torch.int64) + 1) * weights).sum(1) for part in parts])


def feature_keys(features: Tensor) -> Tensor:
    """Return `content_keys` of the features' bits, where the images are not at hand."""
    return content_keys(features.to(torch.float32).contiguous().view(torch.uint8))
