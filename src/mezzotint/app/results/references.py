"""References of evaluations: a split of a dataset, a folder of images, or published statistics."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mezzotint.data.codecs.base import Codec
from mezzotint.data.image_set import ImageSource, labels_of
from mezzotint.data.nouns import noun_for
from mezzotint.progress import Advance, bar
from mezzotint.randomness import permutation

if TYPE_CHECKING:
    from mezzotint.metrics import FeatureMetric, Metric, StatisticsFile


@dataclass(frozen=True)
class Reference(ABC):
    """Real images, or data of another kind, or their statistics, with their protocol entries."""

    images: "ImageSource | StatisticsFile"
    about: dict[str, Any] = field(default_factory=dict)

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...] | None:
        """(C, *size); None for statistics."""

    @property
    @abstractmethod
    def codec(self) -> Codec | None:
        """The codec by which features see them; None for statistics without one."""

    @property
    @abstractmethod
    def plural(self) -> str:
        """The noun for the data in messages, such as images."""

    @property
    @abstractmethod
    def extracted(self) -> int:
        """Images whose features are to be extracted."""

    @abstractmethod
    def limited(self, images: int | None) -> "Reference":
        """Return a reference of at most so many images, chosen by index alone."""

    @abstractmethod
    def coded(self, codec: Codec) -> "Reference":
        """Return the reference with another codec."""

    @abstractmethod
    def labels(self) -> Tensor | None:
        """Return the labels of all images, (N,), before they were limited; None if they are unknown."""

    @abstractmethod
    def check(self, metric: "FeatureMetric") -> None:
        """Raise ConfigError or DataError if it lacks what a metric needs."""

    @abstractmethod
    def remember(self, metrics: "dict[str, FeatureMetric]", device: Any, cache: str) -> list[Path]:
        """Cache the statistics of the images for later evaluations; return the files."""


@dataclass(frozen=True)
class ReferenceImages(Reference):
    """Real images, or data of another kind.

    Args:
        size: their shape, (C, *size).
        code: their codec.
        source: all of them, where `images` are some.
    """

    images: ImageSource
    size: tuple[int, ...] = field(kw_only=True)
    code: Codec = field(kw_only=True)
    source: ImageSource | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.size

    @property
    def codec(self) -> Codec:
        return self.code

    @property
    def plural(self) -> str:
        return noun_for(self.code, self.size).many

    @property
    def extracted(self) -> int:
        return len(self.images)

    def limited(self, images: int | None) -> Reference:
        count = len(self.images)
        if images is None or images >= count:
            return self
        indices = permutation(0, "reference", count)[:images].sort().values
        about = self.about | {"chosen": f"{images} of {count}, by their numbers"}
        return replace(self, images=Chosen(self.images, indices), about=about, source=self.source or self.images)

    def coded(self, codec: Codec) -> Reference:
        return replace(self, code=codec)

    def labels(self) -> Tensor | None:
        return labels_of(self.source or self.images)

    def check(self, metric: "FeatureMetric") -> None:
        metric.extractor.validate(self.shape)
        metric.update_features(torch.empty(0, metric.width), real=True)  # such images have no labels

    def remember(self, metrics: "dict[str, FeatureMetric]", device: Any, cache: str) -> list[Path]:
        from mezzotint.metrics import load_references
        from mezzotint.metrics.evaluation import reset_on

        for extractor in {metric.extractor for metric in metrics.values()}:
            extractor.validate(self.shape)
        reset_on(metrics, device)
        with bar("reference", len(self.images)) as advance:
            return load_references(metrics, ProgressImages(self.images, advance), device, cache)


@dataclass(frozen=True)
class ReferenceStatistics(Reference):
    """Published statistics of real images, of which none can be left out.

    Args:
        code: the codec that they were computed with, if it was given.
    """

    images: "StatisticsFile"
    code: Codec | None = None

    @property
    def shape(self) -> None:
        return None

    @property
    def codec(self) -> Codec | None:
        return self.code

    @property
    def plural(self) -> str:
        return "images"

    @property
    def extracted(self) -> int:
        return 0

    def limited(self, images: int | None) -> Reference:
        return self

    def coded(self, codec: Codec) -> Reference:
        return replace(self, code=codec)

    def labels(self) -> None:
        return None

    def check(self, metric: "FeatureMetric") -> None:
        self.images.fill(metric)

    def remember(self, metrics: "dict[str, FeatureMetric]", device: Any, cache: str) -> list[Path]:
        return []


@dataclass(frozen=True, eq=False)
class Chosen(ImageSource):
    """A subset of images, in their order."""

    images: ImageSource
    indices: Tensor

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.images.batch(self.indices[indices])

    def digest(self) -> str:
        return hashlib.sha256(f"{self.images.digest()} {self.indices.tolist()}".encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class ProgressImages(ImageSource):
    """An image source that reports progress."""

    images: ImageSource
    advance: Advance

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        found = self.images.batch(indices)
        self.advance(len(indices))
        return found

    def digest(self) -> str:
        return self.images.digest()


def remember(metrics: "Mapping[str, Metric]", reference: Reference, device: Any, cache: str) -> list[Path]:
    """Cache the statistics of the real images for later evaluations; return the files.

    Raises:
        ConfigError: an extractor does not take these images.
    """
    from mezzotint.metrics import feature_metrics

    return reference.remember(feature_metrics(metrics), device, cache)
