"""What a metric over features is: streaming updates, states that merge over ranks and never change their precision."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from mezzotint.metrics.extractor import Extractor


class FeatureMetric(Metric, ABC):
    """A torchmetrics.Metric over one view of an extractor's features.

    States of real images are named `real_*` (a reference can be stored and loaded by itself), those of drawn ones
    `drawn_*`. Half precision asked of a module leaves them alone. The state dict is empty.

    Args:
        extractor: turns uint8 images into features.
        view: which of the extractor's views.

    Raises:
        ValueError: the extractor has no such view.
    """

    is_differentiable = False
    full_state_update = False

    def __init__(self, extractor: Extractor, view: str = "pooled") -> None:
        super().__init__()
        if view not in extractor.widths:
            raise ValueError(
                f"{type(self).__name__} needs view={view}, and extractor={extractor.name} "
                f"has {', '.join(extractor.widths)}."
            )
        self.extractor = extractor
        self.view = view

    def update(self, images: Tensor, real: bool) -> None:
        """Adds uint8 images (B, C, H, W), real or drawn."""
        self._take(self.extractor.views(images)[self.view], real, content_keys(images))

    def update_features(self, features: Tensor, real: bool, keys: Tensor | None = None) -> None:
        """Adds feature rows (B, d) that the extractor gave for the same view; keys as of `content_keys`.

        Raises:
            ValueError: another width, or a feature that is not finite.
        """
        self._computed = None
        self._update_count += 1
        self._take(features, real, feature_keys(features) if keys is None else keys)

    @abstractmethod
    def label(self, n: int, reference: int | None = None) -> str:
        """The name under which the value is reported, for n drawn images and so many reference images."""

    def values(self, n: int, reference: int | None = None) -> dict[str, float]:
        """What to report, by name."""
        return {self.label(n, reference): float(self.compute())}

    def notes(self, n: int, reference: int | None = None) -> list[str]:
        """What a reader of the value should know."""
        return []

    def settings(self) -> dict[str, Any]:
        """The class and its arguments, for the protocol."""
        names = [
            name for name in inspect.signature(type(self).__init__).parameters if name not in ("self", "extractor")
        ]
        return {"metric": type(self).__name__, "extractor": self.extractor.name} | {
            name: getattr(self, name) for name in names
        }

    @property
    @abstractmethod
    def recipe(self) -> str:
        """How the states of real images are made from features: equal recipes may share a stored reference."""

    @abstractmethod
    def _add(self, features: Tensor, side: str, keys: Tensor) -> None:
        """Adds checked rows to the states of one side, "real" or "drawn"."""

    def _take(self, features: Tensor, real: bool, keys: Tensor) -> None:
        width = self.extractor.widths[self.view]
        if features.dim() != 2 or features.shape[1] != width:
            raise ValueError(
                f"{self.view} features of {self.extractor.name} have shape (B, {width}), not {tuple(features.shape)}."
            )
        if not torch.isfinite(features).all():
            raise ValueError(f"features of {'real' if real else 'drawn'} images are not finite: look at the images.")
        self._add(features.to(self.device), "real" if real else "drawn", keys.to(self.device))

    def reference_state(self) -> dict[str, Tensor]:
        """The states of real images, as one tensor each."""
        names = [name for name in self._defaults if name.startswith("real_")]
        return {name: _tensor(getattr(self, name)) for name in names}

    def load_reference(self, state: Mapping[str, Tensor]) -> None:
        """Replaces the states of real images by stored ones."""
        self._computed = None
        self._update_count += 1
        for name in self.reference_state():
            value = state[name].to(self.device)
            setattr(self, name, [value] if isinstance(getattr(self, name), list) else value)

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> FeatureMetric:
        """Moves states between devices and ignores every change of precision."""
        super()._apply(lambda tensor: tensor.to(fn(tensor.new_empty(0)).device), exclude_state)
        return self


class RowMetric(FeatureMetric):
    """A metric that needs the features themselves, at most `keep` rows of real and of drawn images.

    Each row goes with a key made from the image's content. Kept are the rows of the smallest keys, which is a random
    choice that depends neither on the order of the images nor on how they were spread over processes.
    """

    def __init__(self, extractor: Extractor, view: str = "pooled", keep: int = 10_000) -> None:
        super().__init__(extractor, view)
        if keep < 2:
            raise ValueError(f"keep={keep}: at least two rows are needed.")
        self.keep = keep
        for side in ("real", "drawn"):
            self.add_state(f"{side}_rows", default=[], dist_reduce_fx="cat")
            self.add_state(f"{side}_keys", default=[], dist_reduce_fx="cat")

    @property
    def recipe(self) -> str:
        return f"rows of {self.view}, at most {self.keep}"

    def rows(self, side: str) -> Tensor:
        """The kept rows in the order of their keys, float64 (n, d).

        Raises:
            ValueError: fewer than two rows.
        """
        found = getattr(self, f"{side}_rows")
        rows, _ = self._smallest(side) if len(found) else (torch.empty(0, 0), None)
        if len(rows) < 2:
            raise ValueError(f"{type(self).__name__} needs at least two {side} images, and has {len(rows)}.")
        return rows.to(torch.float64)

    def _add(self, features: Tensor, side: str, keys: Tensor) -> None:
        rows, kept = getattr(self, f"{side}_rows"), getattr(self, f"{side}_keys")
        rows.append(features.to(torch.float32))
        kept.append(keys)
        if sum(map(len, rows)) > 2 * self.keep:
            best, order = self._smallest(side)
            setattr(self, f"{side}_rows", [best])
            setattr(self, f"{side}_keys", [order])

    def _smallest(self, side: str) -> tuple[Tensor, Tensor]:
        keys = _tensor(getattr(self, f"{side}_keys"))
        order = keys.argsort(stable=True)[: self.keep]
        return _tensor(getattr(self, f"{side}_rows"))[order], keys[order]

    def _sync_dist(self, *args: Any, **kwargs: Any) -> None:
        """A process without images takes part with zero rows of the right width."""
        width = self.extractor.widths[self.view]
        for side in ("real", "drawn"):
            if not getattr(self, f"{side}_rows"):
                setattr(self, f"{side}_rows", [torch.empty(0, width, device=self.device)])
                setattr(self, f"{side}_keys", [torch.empty(0, dtype=torch.int64, device=self.device)])
        super()._sync_dist(*args, **kwargs)


def content_keys(images: Tensor) -> Tensor:
    """int64 (B,): a hash of each image's content, the same on every device and in every batch.

    The sum of value times a fixed random number, modulo 2^64.
    """
    flat = images.flatten(1).to(torch.int64) + 1
    generator = torch.Generator().manual_seed(flat.shape[1])
    bounds = torch.iinfo(torch.int64)
    weights = torch.randint(bounds.min, bounds.max, (flat.shape[1],), generator=generator)
    return (flat * weights.to(flat.device)).sum(1)


def feature_keys(features: Tensor) -> Tensor:
    """`content_keys` of the features' bits, where the images are not at hand."""
    return content_keys(features.to(torch.float32).contiguous().view(torch.uint8))


def short_count(n: int) -> str:
    """How a number of images stands in a name: 1000, 1797, 2048, 5k, 50k."""
    return f"{n // 1000}k" if n >= 3000 and n % 1000 == 0 else str(n)


def _tensor(state: Tensor | list[Tensor]) -> Tensor:
    return state if isinstance(state, Tensor) else dim_zero_cat(state) if state else torch.empty(0)
