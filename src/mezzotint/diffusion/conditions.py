"""Conditions by name: tensors (B, ...) beside x, each with a null that stands for "unknown".

A condition is one tensor, and so is its null: -1 in integers (class labels, multi-hot vectors, token numbers), NaN in
floats (vectors, images, token embeddings), for the example in every element. A missing value therefore needs no second
tensor, whatever the network makes of it: networks map the null to parameters of their own and never compute with it.
In sequences the same values mark the tokens that are padding.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from .interval import INTERVAL

NOT_CONDITIONS = ("estimate", "augment", INTERVAL)  # inputs by name that are made in training and sampling, not given


def null_like(value: Tensor) -> Tensor:
    """Return the null of a condition (B, ...): -1 in signed integers, NaN in floats.

    Raises:
        ValueError: bool or unsigned integers, which have no null.
    """
    if value.is_floating_point():
        return torch.full_like(value, math.nan)
    if value.dtype in (torch.bool, torch.uint8):
        raise ValueError(
            f"A condition of {value.dtype} has no null: give int64 (-1 is the null) or float32 (NaN is the null)."
        )
    return torch.full_like(value, -1)


def is_null(value: Tensor) -> Tensor:
    """Return elementwise whether a condition is null, a bool tensor of the same shape."""
    return value.isnan() if value.is_floating_point() else value == -1


def conditions_of(cond: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the conditions among the named inputs of a denoiser; those that are None are left out."""
    return {name: value for name, value in cond.items() if value is not None and name not in NOT_CONDITIONS}


def without(
    cond: Mapping[str, Any], names: Collection[str] | None = None, null: Mapping[str, Tensor] | None = None
) -> dict[str, Any]:
    """Return the named inputs of a denoiser with conditions replaced by their null.

    Args:
        cond: inputs by name.
        names: the conditions to replace; None for the label, or for all where there is none.
        null: by name, what to replace them by in place of `null_like`, such as a negative prompt; (B, ...) or (1, ...).

    Raises:
        ValueError: there is no condition to replace, or none of a given name.
    """
    given = conditions_of(cond)
    missing = sorted({*(names or ()), *(null or ())} - set(given))
    if missing or not given:
        have = f"is given {', '.join(sorted(given))}" if given else "is given none"
        what = f"the condition {missing[0]!r}" if missing else "a label or another condition"
        raise ValueError(
            f"Classifier-free guidance needs {what}, and the denoiser {have}. Pass it by name, or use guidance=none."
        )
    if names is None:
        names = ["label"] if "label" in given else list(given)
    replaced = dict(cond)
    for name in names:
        value = given[name]
        replaced[name] = null[name].to(value).expand_as(value) if null and name in null else null_like(value)
    return replaced


def dropped(value: Tensor, selected: Tensor) -> Tensor:
    """Return a condition (B, ...) with its null in the selected (B,) examples."""
    return torch.where(selected.reshape(-1, *(1,) * (value.ndim - 1)), null_like(value), value)


def concatenated(parts: Collection[Mapping[str, Any]], batch: int) -> dict[str, Any]:
    """Concatenate the named inputs of several calls of one batch size; what has no batch dimension passes."""
    first, *_ = parts
    return {
        name: torch.cat([part[name] for part in parts])
        if isinstance(value, Tensor) and value.ndim and len(value) == batch
        else value
        for name, value in first.items()
    }
