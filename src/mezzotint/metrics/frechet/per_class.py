"""Frechet distances per class, which a good overall distance can hide."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.errors import ConfigError, DataError
from mezzotint.metrics.accumulators import Batch, MomentSums, SumAccumulator
from mezzotint.metrics.extractors.base import Extractor
from mezzotint.metrics.feature_metric import FeatureMetric
from mezzotint.metrics.frechet.fid import MINIMUM, frechet_name, name_notes
from mezzotint.metrics.gaussian import Moments, frechet_distance
from mezzotint.metrics.metric import Context, short_count


class FrechetPerClass(FeatureMetric):
    """Frechet distance between the real and the generated images of one class, for each class that has both.

    It holds classes x width^2 numbers: 0.3 MB for ten classes of 64 features, 34 GB for ImageNet over Inception.

    Args:
        extractor: turns images into features.
        classes: labels run from 0 to classes - 1.
        minimum: real and generated images of a class required to call a distance over Inception FID.
    """

    natural = ("minimum",)

    higher_is_better = False
    needs_labels = True

    def __init__(self, extractor: Extractor, classes: int, minimum: int = MINIMUM) -> None:
        if classes < 1:
            raise ValueError(
                f"classes={classes}: values per class need labelled data. Leave metrics=fid_per_class out."
            )
        self.real, self.generated = ClassSums("real", classes), ClassSums("generated", classes)
        super().__init__(extractor, (self.real, self.generated))
        self.classes = classes
        self.minimum = minimum

    def validate(self, context: Context) -> None:
        super().validate(context)
        if not context.labelled:
            raise ConfigError(
                "FrechetPerClass needs the labels of the samples. Leave this metric out, or give run=DIR."
            )

    def compute(self) -> Tensor:
        """The distances, float64 (classes,), NaN for a class with fewer than two images on either side."""
        pairs = [(self.real.moments(c), self.generated.moments(c)) for c in range(self.classes)]
        found = [frechet_distance(real, generated) if real and generated else float("nan") for real, generated in pairs]
        return torch.tensor(found, dtype=torch.float64)

    def reported_name(self, n: int, reference: int | None = None) -> str:
        name = frechet_name(self.extractor, self.per_class(n, reference), minimum=self.minimum)
        return f"{name}_{short_count(n)}_class"

    def notes(self, n: int, reference: int | None = None) -> list[str]:
        label = self.reported_name(n, reference)
        found = name_notes(label, self.extractor, self.per_class(n, reference), minimum=self.minimum)
        sides = ((one.side, one.state().values()) for one in (self.real, self.generated))
        for side, (count, _, _) in sides:
            if len(few := (count < 2).nonzero().flatten().tolist()) > 0:
                some = ", ".join(map(str, few[:10])) + (", ..." if len(few) > 10 else "")
                found.append(f"{label}: no value for class {some}, with fewer than two {side} examples.")
        return found

    def per_class(self, n: int, reference: int | None = None) -> int:
        """Return the number of images per class on the smaller side, if classes are balanced."""
        return min(n, n if reference is None else reference) // self.classes

    def values(self, n: int, reference: int | None = None) -> dict[str, float]:
        found = dict(enumerate(self.compute().tolist()))
        return {f"{self.reported_name(n, reference)}_{c}": value for c, value in found.items() if value == value}


class ClassSums(SumAccumulator):
    """Count, sum of x and sum of x x^T for each class."""

    def __init__(self, side: str, classes: int) -> None:
        super().__init__(side)
        self.classes = classes

    @property
    def cache_key(self) -> str:
        return f"sums of {self.classes} classes"

    def shapes(self, width: int) -> dict[str, tuple[int, ...]]:
        return {part: (self.classes, *shape) for part, shape in MomentSums(self.side).shapes(width).items()}

    def add(self, features: Tensor, batch: Batch) -> None:
        labels = batch.labels
        if labels is None:
            raise DataError(
                f"values per class need labels beside the {self.side} examples: leave metrics=fid_per_class out."
            )
        count, total, outer = self.state().values()
        for c in labels.unique().tolist():
            rows = features[labels == c].to(torch.float64)
            count[c] += len(rows)
            total[c] += rows.sum(0)
            outer[c].addmm_(rows.T, rows)

    def moments(self, c: int) -> Moments | None:
        """Mean and covariance of one class, or None below two rows."""
        count, total, outer = self.state().values()
        return Moments.of_sums(int(count[c]), total[c], outer[c]) if count[c] > 1 else None
