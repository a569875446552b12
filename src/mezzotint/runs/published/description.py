"""The description of a file of another program: its tensors and the config that they belong to."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from mezzotint.errors import DataError
from mezzotint.runs.published.entries import Entries

Settings = dict[str, Any]  # by words of the command line, such as network.width

EDM_CHOICES = {"schedule": "edm", "target": "edm", "c_noise": "log_sigma", "c_in": "unit_variance"}
EDM_CHOICES |= {"time_distribution": "log_normal", "loss_weight": "constant", "sampler": "heun_edm", "grid": "karras"}
EDM_CHOICES |= {"guidance": "none", "objective": "simple", "loss": "squared"}


@dataclass(frozen=True)
class Description:
    """Tensors, and the config that they belong to.

    Args:
        choices: of config groups, by name.
        settings: values of the config.
        entries: of a network, the places of its tensors in the file.
        assumed: what the tensors do not tell and was taken to be so, as words of the command line.
        unused: tensors in the file that are no part of a network.
    """

    tensors: Mapping[str, Tensor]
    choices: Mapping[str, str]
    settings: Settings
    entries: Callable[[nn.Module], Entries]
    assumed: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)


def split_off(tensors: Mapping[str, Tensor], *marks: str) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors without those whose names contain a mark, and the names of those."""
    unused = [name for name in tensors if any(mark in name for mark in marks)]
    return {name: value for name, value in tensors.items() if name not in unused}, unused


def without_prefix(tensors: Mapping[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    """Return the tensors without a prefix that all of their names, but for a few, begin with."""
    for prefix in prefixes:
        inner = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        if 2 * len(inner) > len(tensors):
            return inner | {name: value for name, value in tensors.items() if not name.startswith(prefix)}
    return dict(tensors)


def shape_of(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    """Return the shape of a tensor. Raises DataError: the file has none of that name."""
    if name not in tensors:
        known = ", ".join(list(tensors)[:3])
        raise DataError(f"the file has no tensor {name}, which every file of this format has; it begins with {known}")
    return tuple(tensors[name].shape)


def multipliers(widths: Iterable[int], width: int) -> list[int | float]:
    """Return channels in multiples of a width."""
    return [n // width if n % width == 0 else n / width for n in widths]
