"""The inputs that a dataset gives to a network, by their shapes alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from mezzotint.data.conditions import kinds_of, null_values
from mezzotint.data.dataset import coded_shape
from mezzotint.networks import Condition


@dataclass(frozen=True)
class NetworkInputs:
    """The inputs of a network, by which memory is counted and steps are timed without data.

    Args:
        shape: of x without the batch, such as (C, H, W).
        classes: number of classes; 0 gives no labels.
        conditions: kinds of the other conditions by name.
    """

    shape: tuple[int, ...]
    classes: int = 0
    conditions: Mapping[str, Condition] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: Any) -> Self:
        """Return the inputs of a network that is trained on this dataset."""
        return cls(tuple(coded_shape(dataset)), dataset.classes, kinds_of(dataset))

    def null_conditions(self, count: int, device: torch.device | str = "cpu") -> dict[str, Tensor]:
        """Return label 0 and the null of each other condition for `count` examples, by name."""
        label = {"label": torch.zeros(count, dtype=torch.int64, device=device)} if self.classes else {}
        return label | null_values(self.conditions, count, device)
