"""Classes: one of several, or any number of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from mezzotint.diffusion import is_null
from mezzotint.networks.embeddings import LabelEmbedding

from .base import Condition


@dataclass(frozen=True)
class ClassCondition(Condition):
    """One of `classes` classes, int64: a further label beside that of `data.classes`. A learned vector for each."""

    classes: int

    dtype: ClassVar[torch.dtype] = torch.int64
    positive: ClassVar[tuple[str, ...]] = ("classes",)

    @property
    def shape(self) -> tuple[int, ...]:
        return ()

    def as_vector(self, outputs: int) -> nn.Module:
        return LabelEmbedding(self.classes, outputs)

    def check(self, values: Tensor) -> None:
        super().check(values)
        check_range(values, self.classes)

    def wanted(self) -> str:
        return f"an integer from 0 to {self.classes - 1}"


@dataclass(frozen=True)
class MultiHotCondition(Condition):
    """Any number of `classes` classes: int64 (classes,), 1 for those that hold and 0 for the others.

    The sum of a learned vector for each class that holds.
    """

    classes: int

    dtype: ClassVar[torch.dtype] = torch.int64
    positive: ClassVar[tuple[str, ...]] = ("classes",)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.classes,)

    def as_vector(self, outputs: int) -> nn.Module:
        return MultiHotEmbedding(self.classes, outputs)

    def check(self, values: Tensor) -> None:
        super().check(values)
        check_range(values, 2)

    def wanted(self) -> str:
        return f"a list of {self.classes} numbers, each 0 or 1"


class MultiHotEmbedding(nn.Module):
    """The sum of one learned vector per class that holds, or a learned vector for the null: (B, K) -> (B, outputs)."""

    def __init__(self, classes: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(classes, outputs)
        self.null = nn.Parameter(torch.zeros(outputs))

    def forward(self, value: Tensor) -> Tensor:
        absent = is_null(value).any(1, keepdim=True)
        holds = torch.where(absent, 0, value).to(self.linear.weight.dtype)
        return torch.where(absent, self.null, self.linear(holds))


def check_range(values: Tensor, stop: int) -> None:
    """Raise ValueError for integers outside of 0 .. stop - 1."""
    if values.numel() and not 0 <= int(values.min()) <= int(values.max()) < stop:
        wrong: Sequence[int] = values[(values < 0) | (values >= stop)].unique().tolist()
        raise ValueError(f"it holds {wrong[0]}, which is not one of 0 to {stop - 1}")
