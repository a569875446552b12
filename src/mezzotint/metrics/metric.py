"""The metric protocol: what every metric declares, what it is given, and what it returns."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from mezzotint.data.codecs.base import Codec
from mezzotint.data.codecs.pixels import PixelCodec
from mezzotint.data.conditions import ConditionValues, Pairs
from mezzotint.data.image_set import ImageSource
from mezzotint.diffusion import Denoise
from mezzotint.errors import ConfigError
from mezzotint.finite import Finite
from mezzotint.progress import Advance

if TYPE_CHECKING:
    from mezzotint.metrics.extractors.base import Extractor

ProgressBar = Callable[[str, int], AbstractContextManager[Advance]]  # of a title and a total
Named = Mapping[str, Sequence[object]]  # one pair: what varies, and its values
Scorer = Callable[[Tensor, Tensor], dict[str, Tensor]]  # samples (B, C, *size), their numbers (B,) -> (B,) by name


@contextmanager
def no_progress(title: str, total: int) -> Iterator[Advance]:
    """A progress bar that shows nothing."""
    yield lambda count: None


def no_samples(count: int, advance: Advance) -> Tensor:
    """Samples of a model that cannot generate any. Raises ValueError."""
    raise ValueError("the samples cannot be generated again: give samples= to EvaluatedModel")


def no_conditions(split: str) -> ConditionValues:
    """Conditions of data that have none beside classes."""
    return ConditionValues()


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of all samples, in the order of their numbers.

    Args:
        index: numbers of the samples (n,).
        values: float64 (n,) by name.
    """

    index: Tensor
    values: Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class EvaluatedModel:
    """The model that generated the samples, for metrics that need more than its samples.

    Args:
        denoise: its denoiser without guidance, in evaluation mode and on the device.
        split: returns a split of the dataset that it was trained on, by name.
        samples: generates its first n samples again, uint8 (n, C, H, W), reporting progress.
        seed: of its samples.
        limit: upper bound on the images that a metric measures; None leaves it to the metric.
        codec: of its data.
        pairs: the true example of each sample; None for samples without conditions of an example.
        conditions: returns the conditions of a split's examples, by name of the split.
    """

    denoise: Denoise
    split: Callable[[str], ImageSource]
    samples: Callable[[int, Advance], Tensor] = no_samples
    seed: int = 0
    limit: int | None = None
    codec: Codec = field(default_factory=PixelCodec)
    pairs: Pairs | None = None
    conditions: Callable[[str], ConditionValues] = no_conditions


@dataclass(frozen=True, eq=False)
class Context:
    """The inputs of an evaluation, apart from the samples themselves.

    Args:
        n: samples over all processes; None if not known yet.
        reference: images of the reference; None if not known yet.
        model: the model that generated the samples; None for images of unknown origin.
        labelled: the samples have class labels.
        device: where networks run.
        progress: opens a progress bar.
        scores: those of the metric's own scorer, once the samples have been generated.
    """

    n: int | None = None
    reference: int | None = None
    model: EvaluatedModel | None = None
    labelled: bool = True
    device: torch.device = torch.device("cpu")
    progress: ProgressBar = no_progress
    scores: Scores | None = None


@dataclass(frozen=True)
class Error:
    """The uncertainty of a value.

    Args:
        size: one standard deviation, printed behind the value.
        source: what it was estimated from: "3 seeds", "bootstrap", "standard error", "100 subsets".
        of_value: standard error of the value itself, which for a mean over k seeds is smaller by sqrt(k).
    """

    size: float
    source: str
    of_value: float


@dataclass(frozen=True, eq=False)
class ImageTable:
    """A table of images with a caption, drawn by `mezzotint.figures.plot_matrix`.

    Args:
        images: uint8 (rows, columns, C, H, W).
        rows, columns: the label of each axis and those of its entries, as one pair.
    """

    caption: str
    images: Tensor
    rows: Named
    columns: Named


@dataclass(frozen=True, eq=False)
class Measured:
    """The result of one metric.

    Args:
        values: by reported name.
        errors: uncertainties of values, by the same names.
        notes: sentences for the reader of the values.
        protocol: what was measured, beside the metric's settings: counts, hashes, ...
        picture: examples of what the value stands for.
    """

    values: dict[str, float]
    errors: Mapping[str, Error] = field(default_factory=dict)
    notes: Sequence[str] = ()
    protocol: Mapping[str, Any] = field(default_factory=dict)
    picture: ImageTable | None = None


class Metric(metaclass=Finite):
    """One or a few numbers that an evaluation reports.

    A config names its class by `_target_`. A constructor with an argument `extractor` receives the extractor that fits
    the images. Metrics of features derive from `FeatureMetric`.
    """

    higher_is_better: ClassVar[bool | None] = False
    of_reference: ClassVar[bool] = False  # a property of the reference alone, to compare other values with
    needs_labels: ClassVar[bool] = False  # its value depends on the classes of the images
    scores_samples: ClassVar[bool] = False  # has a scorer

    @property
    def extractors(self) -> tuple[Extractor, ...]:
        """The networks whose features it reads."""
        return ()

    @property
    def required_splits(self) -> tuple[str, ...]:
        """Splits of the dataset that it reads, beside the reference."""
        return ()

    def min_images(self) -> dict[str, int]:
        """The least number of images by side: "real", "generated"."""
        return {}

    def validate(self, context: Context) -> None:
        """Refuse, before anything is computed, inputs that give no value. Raises ConfigError or DataError."""

    def scorer(self, context: Context) -> Scorer | None:
        """Return the function that scores samples as they are generated; None for a metric without one."""
        return None

    @abstractmethod
    def measure(self, context: Context) -> Measured:
        """Return the values. Every process calls it; the first one's values are reported."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The class and its arguments, for the protocol."""


def require_model(metric: Metric, context: Context, reason: str) -> EvaluatedModel:
    """Return the evaluated model. Raises ConfigError without one: the metric needs it for this reason."""
    if context.model is None:
        raise ConfigError(f"{type(metric).__name__} needs {reason}. Leave this metric out, or give run=DIR.")
    return context.model


def short_count(n: int) -> str:
    """A number of images as it appears in reported names: 1000, 1797, 2048, 5k, 50k."""
    return f"{n // 1000}k" if n >= 3000 and n % 1000 == 0 else str(n)
