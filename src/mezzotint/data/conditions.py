"""The values of conditions by the index of the example: stored beside the data, or derived from each example."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from mezzotint.data.arrays.stored import MemoryRows, Rows, blocks, held
from mezzotint.data.scaling import PixelScaling
from mezzotint.errors import DataError
from mezzotint.networks import Condition

SMALL = 1 << 26  # bytes of values that are read into memory
Column = np.ndarray | Sequence[Any] | Rows


@runtime_checkable
class Conditional(Protocol):
    """A dataset that has conditions."""

    conditions: Mapping[str, Condition]

    def condition_values(self, split: str) -> "ConditionValues": ...


@dataclass(frozen=True, eq=False)
class ConditionValues:
    """The conditions of the examples of one split.

    Args:
        kinds: the kind of each condition, by its name.
        stored: values (N, ...) of those that are not derived, by name, as they are stored; large ones stay in files.
        encode: examples as they are stored to examples as the network sees them.
        texts: the texts (N) of which values were encoded, by name.
    """

    kinds: Mapping[str, Condition] = field(default_factory=dict)
    stored: Mapping[str, Rows] = field(default_factory=dict)
    encode: Callable[[Tensor], Tensor] = PixelScaling().to_float
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def batch(self, indices: Tensor, examples: Tensor, mirrored: Tensor | None = None) -> dict[str, Tensor]:
        """Return the values of the examples at indices (B,), by name.

        Args:
            examples: these examples (B, C, *size) as they are stored, from which derived conditions are computed.
            mirrored: (B,) bool, which of them are flipped.
        """
        return {name: self._values(name, kind, indices, examples, mirrored) for name, kind in self.kinds.items()}

    def digest(self) -> str:
        """Return a hash of the stored values, equal for equal values in equal order; empty if none are stored."""
        hashed = hashlib.sha256()
        for name, values in sorted(self.stored.items()):
            hashed.update(f"{name} {values.shape} {values.dtype.name}".encode())
            for block in blocks(values):
                hashed.update(block.data.cast("B"))
        return hashed.hexdigest() if self.stored else ""

    def _values(self, name: str, kind: Condition, indices: Tensor, examples: Tensor, mirrored: Tensor | None) -> Tensor:
        if kind.derived:
            return kind.derive(self.encode(examples))
        values = numbers_of(kind, self.stored[name].rows(indices.numpy()))
        if mirrored is None:
            return values
        chosen = mirrored.reshape(-1, *(1,) * (values.ndim - 1))
        return torch.where(chosen, kind.mirrored(values), values)


class Pairs(Protocol):
    """The true example of each sample: the one whose conditions the sample was generated with."""

    @property
    def kinds(self) -> Mapping[str, Condition]:
        """The kind of each condition, by its name."""
        ...

    def __len__(self) -> int:
        """Return the number of examples; sample i and sample i + len have the same one."""
        ...

    def truth(self, index: Tensor) -> Tensor:
        """Return the true examples of the samples of these numbers (B,), as they are stored, (B, C, *size)."""
        ...

    def values(self, index: Tensor) -> dict[str, Tensor]:
        """Return the conditions (B, ...) of these samples, by name."""
        ...


def kinds_of(dataset: Any) -> Mapping[str, Condition]:
    """Return the kind of each condition of a dataset, by its name."""
    return dataset.conditions if isinstance(dataset, Conditional) else {}


def null_values(kinds: Mapping[str, Condition], count: int, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Return the null of each condition for `count` examples, (count, ...), by its name."""
    return {name: kind.null(count, device) for name, kind in kinds.items()}


def condition_values(dataset: Any, split: str) -> ConditionValues:
    """Return the conditions of a split; those of an object that is no `Dataset` of ours are none."""
    return dataset.condition_values(split) if kinds_of(dataset) else ConditionValues()


def checked(where: str, name: str, kind: Condition, given: Column, count: int) -> Rows:
    """Return the values of one condition, (N, ...) of N examples; those of large arrays stay in their file.

    Args:
        where: origin of the values, for messages.
        given: an array (N, ...), in memory or a file, or N values of any form that the kind encodes, such as texts.

    Raises:
        DataError: there are too few or too many, or one is no value of this kind.
    """
    if len(given) != count:
        raise DataError(
            f"the condition {name!r} of {where} has {len(given):,} values, and there are {count:,} examples."
        )
    try:
        if isinstance(given, Sequence):
            return MemoryRows(kind.encode_all(given).numpy())
        array = held(MemoryRows(given) if isinstance(given, np.ndarray) else given, SMALL)
        if array.dtype.kind not in "fiub":
            return MemoryRows(kind.encode_all(list(array.rows(np.arange(count)))).numpy())
        check_rows(kind, array)
        return array
    except ValueError as error:
        raise DataError(f"the condition {name!r} of {where}: {error}.") from error


def check_derived(where: str, kinds: Mapping[str, Condition], shape: Sequence[int]) -> None:
    """Raise DataError for a condition that cannot be derived from examples of this shape, as the network sees them."""
    for name, kind in kinds.items():
        try:
            if kind.derived:
                kind.derive(torch.empty(1, *shape, device="meta"))
        except ValueError as error:
            raise DataError(f"the condition {name!r} of {where}: {error}.") from error


def texts_of(given: Column) -> list[str]:
    """Return values that are texts; empty if they are something else."""
    if isinstance(given, Sequence):
        return list(given) if all(isinstance(text, str) for text in given) else []
    array = MemoryRows(given) if isinstance(given, np.ndarray) else given
    return array.rows(np.arange(len(array))).tolist() if array.dtype.kind == "U" else []


def check_rows(kind: Condition, array: Rows) -> None:
    """Raise ValueError unless an array holds values of a kind. It is read in parts."""
    first = 0
    for block in blocks(array):
        try:
            kind.check(numbers_of(kind, block))
        except ValueError as error:
            part = f" of {first:,} to {first + len(block) - 1:,}" if len(block) < len(array) else ""
            raise ValueError(f"{error}{part}") from error
        first += len(block)


def numbers_of(kind: Condition, stored: np.ndarray) -> Tensor:
    """Return stored values (B, ...) as those of a kind; a number for each example may be stored without its axis."""
    values = torch.from_numpy(stored)
    return kind.numbers(values[:, None] if values.ndim == 1 and kind.shape == (1,) else values)
