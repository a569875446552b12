"""The base of metrics that compare each sample with the true example of its conditions."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from mezzotint.data.conditions import Pairs
from mezzotint.errors import ConfigError
from mezzotint.metrics.metric import Context, Error, EvaluatedModel, Measured, Metric, require_model, short_count

REASON = "the true example of each sample, which a run with conditions has, such as experiment=emoji_superres"


class PairedMetric(Metric):
    """The mean of a score of each sample beside its true example, the held-out one whose conditions it has.

    The error is the standard error over examples; samples of one example count as one.
    """

    higher_is_better: ClassVar[bool | None] = True
    scores_samples: ClassVar[bool] = True

    @abstractmethod
    def reported_name(self, n: int) -> str:
        """The name of the value for n samples."""

    @property
    def required_splits(self) -> tuple[str, ...]:
        return ("test",)

    def model(self, context: Context) -> tuple[EvaluatedModel, Pairs]:
        """Return the model and the true examples of its samples. Raises ConfigError: there are none."""
        model = require_model(self, context, REASON)
        if model.pairs is None:
            raise ConfigError(f"{type(self).__name__} needs {REASON}. Leave this metric out.")
        return model, model.pairs

    def validate(self, context: Context) -> None:
        self.model(context)

    def measure(self, context: Context) -> Measured:
        if context.scores is None:
            raise ValueError(f"{type(self).__name__} scores samples as they are generated: use evaluate()")
        _, pairs = self.model(context)
        found = context.scores
        name, examples = self.reported_name(len(found.index)), found.index % len(pairs)
        values = {f"{name}{key}": float(scores.mean()) for key, scores in found.values.items()}
        errors = {f"{name}{key}": standard_error(scores, examples) for key, scores in found.values.items()}
        protocol = {"count": len(found.index), "examples": len(examples.unique())}
        return Measured(
            values, {key: Error(size, "standard error", size) for key, size in errors.items()}, protocol=protocol
        )


def standard_error(scores: Tensor, groups: Tensor) -> float:
    """Return the standard error of the mean over groups (n,) of scores (n,); NaN for a single group."""
    _, places, counts = groups.unique(return_inverse=True, return_counts=True)
    means = torch.zeros(len(counts), dtype=scores.dtype).index_add_(0, places, scores) / counts
    return float(means.std()) / len(counts) ** 0.5 if len(counts) > 1 else float("nan")


def named(prefix: str, n: int) -> str:
    """Return the reported name of a value of n samples."""
    return f"{prefix}_{short_count(n)}"
