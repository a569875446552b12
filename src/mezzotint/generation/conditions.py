"""Conditions of numbered samples: sample i has those of one example, a function of i alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from mezzotint.data.conditions import ConditionValues, Pairs, condition_values, kinds_of, null_values
from mezzotint.data.image_set import ImageSource, labels_of
from mezzotint.networks import Condition
from mezzotint.randomness import permutation

SEED = 0  # of the order of the examples, the same in all runs


class ConditionPlan(Protocol):
    """The conditions of samples by their number."""

    about: str  # for the protocol of an evaluation

    def values(self, index: Tensor) -> dict[str, Tensor]:
        """Return the values (B, ...) of the samples of these numbers (B,), by name of the condition."""
        ...

    def labels(self, index: Tensor) -> Tensor | None:
        """Return the labels (B,) that belong to these values, or None if any label does."""
        ...

    def texts(self, index: Tensor) -> dict[str, list[str]]:
        """Return the texts (B) of those values that were given as texts, by name of the condition."""
        ...

    def pairs(self) -> Pairs | None:
        """Return the true examples that these values are of; None for values of no example."""
        ...


@dataclass(frozen=True, eq=False)
class ExampleConditions(ConditionPlan):
    """The conditions of the examples of a split, in a fixed random order and again from the start: with their labels.

    Args:
        images: the examples.
        conditions: their conditions.
        about: a name of the examples.
    """

    images: ImageSource
    conditions: ConditionValues
    about: str = "of the held-out examples"

    @property
    def kinds(self) -> Mapping[str, Condition]:
        return self.conditions.kinds

    def __len__(self) -> int:
        return len(self.images)

    def examples(self, index: Tensor) -> Tensor:
        """Return the number (B,) of the example that gives each sample its conditions."""
        return self._order[index % len(self._order)]

    def truth(self, index: Tensor) -> Tensor:
        """Return these examples as they are stored, (B, C, *size)."""
        return self.images.batch(self.examples(index))[0]

    def texts(self, index: Tensor) -> dict[str, list[str]]:
        examples = [int(i) for i in self.examples(index)]
        return {name: [texts[i] for i in examples] for name, texts in self.conditions.texts.items()}

    def pairs(self) -> Pairs:
        return self

    def values(self, index: Tensor) -> dict[str, Tensor]:
        examples = self.examples(index)
        return self.conditions.batch(examples, self.images.batch(examples)[0])

    def labels(self, index: Tensor) -> Tensor | None:
        return None if self._labels is None else self._labels[self.examples(index)]

    @cached_property
    def _order(self) -> Tensor:
        return permutation(SEED, "conditions", len(self.images))

    @cached_property
    def _labels(self) -> Tensor | None:
        return labels_of(self.images)


@dataclass(frozen=True, eq=False)
class GivenConditions(ConditionPlan):
    """Given values in turn: sample i has those of row i modulo the number of rows.

    Args:
        rows: values (R, ...) by name of the condition; one that is not named has its null.
        about: a name of the values.
        written: the texts (R) of rows that were given as texts, by name.
    """

    rows: Mapping[str, Tensor] = field(default_factory=dict)
    about: str = "given"
    written: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def values(self, index: Tensor) -> dict[str, Tensor]:
        return {name: values[index % len(values)] for name, values in self.rows.items()}

    def labels(self, index: Tensor) -> Tensor | None:
        return None

    def texts(self, index: Tensor) -> dict[str, list[str]]:
        return {name: [texts[int(i) % len(texts)] for i in index] for name, texts in self.written.items()}

    def pairs(self) -> None:
        return None


def stored_values(plan: ConditionPlan, index: Tensor) -> dict[str, np.ndarray]:
    """Return the conditions of samples (B, ...) as files of conditions hold them, by name, without those that are null.

    Texts are texts again.
    """
    values = plan.values(index) | {name: np.array(texts) for name, texts in plan.texts(index).items()}
    arrays = {name: np.asarray(value) for name, value in values.items()}
    return {name: array for name, array in arrays.items() if array.dtype.kind == "U" or not absent(array)}


def absent(values: np.ndarray) -> bool:
    """Return whether all values are the null of their type."""
    return bool((np.isnan(values) if values.dtype.kind == "f" else values == -1).all())


def null_conditions(kinds: Mapping[str, Condition]) -> GivenConditions:
    """Return a plan in which every sample has the null of each condition."""
    return GivenConditions(null_values(kinds, 1), "none")


def held_out_conditions(dataset: Any) -> ConditionPlan | None:
    """Return the plan of a dataset's test split, or None for a dataset without conditions."""
    if not kinds_of(dataset):
        return None
    return ExampleConditions(dataset.split("test"), condition_values(dataset, "test"))
