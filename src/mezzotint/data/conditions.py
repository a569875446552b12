"""The values of conditions by the index of the example: stored beside the data, or derived from each example."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from mezzotint.data.scaling import PixelScaling
from mezzotint.errors import DataError
from mezzotint.networks import Condition


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
        stored: values (N, ...) of those that are not derived, by name, as they are stored.
        encode: examples as they are stored to examples as the network sees them.
    """

    kinds: Mapping[str, Condition] = field(default_factory=dict)
    stored: Mapping[str, Tensor] = field(default_factory=dict)
    encode: Callable[[Tensor], Tensor] = PixelScaling().to_float

    def batch(self, indices: Tensor, examples: Tensor, mirrored: Tensor | None = None) -> dict[str, Tensor]:
        """Return the values of the examples at indices (B,), by name.

        Args:
            examples: these examples (B, C, *size) as they are stored, from which derived conditions are computed.
            mirrored: (B,) bool, which of them are flipped.
        """
        return {name: self._values(name, kind, indices, examples, mirrored) for name, kind in self.kinds.items()}

    def _values(self, name: str, kind: Condition, indices: Tensor, examples: Tensor, mirrored: Tensor | None) -> Tensor:
        if kind.derived:
            return kind.derive(self.encode(examples))
        values = kind.numbers(self.stored[name].index_select(0, indices))
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
    return dataset.condition_values(split) if isinstance(dataset, Conditional) else ConditionValues()


def checked(where: str, name: str, kind: Condition, given: np.ndarray | Sequence, count: int) -> Tensor:
    """Return the values of one condition as a tensor, (N, ...) of N examples.

    Args:
        where: origin of the values, for messages.
        given: an array (N, ...), or N values of any form that the kind encodes, such as texts.

    Raises:
        DataError: there are too few or too many, or one is no value of this kind.
    """
    if len(given) != count:
        raise DataError(
            f"the condition {name!r} of {where} has {len(given):,} values, and there are {count:,} examples."
        )
    try:
        if isinstance(given, np.ndarray) and given.dtype.kind in "fiub":
            values = torch.from_numpy(np.ascontiguousarray(given))
            if values.ndim == 1 and kind.shape == (1,):
                values = values[:, None]
            kind.check(kind.numbers(values))
            return values
        return kind.encode_all(given)
    except ValueError as error:
        raise DataError(f"the condition {name!r} of {where}: {error}.") from error
