"""The place and the layout of a network's tensors in the files of another program."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from mezzotint.errors import ConfigError
from mezzotint.networks.attention import SelfAttention
from mezzotint.networks.magnitude import MPAttention


class Layout(Protocol):
    """The way between tensors of a file and the tensor of a network."""

    def read(self, parts: Sequence[Tensor]) -> Tensor:
        """Return the network's tensor."""
        ...

    def write(self, tensor: Tensor) -> list[Tensor]:
        """Return the file's tensors."""
        ...


class Same:
    """The tensor unchanged."""

    def read(self, parts: Sequence[Tensor]) -> Tensor:
        return parts[0]

    def write(self, tensor: Tensor) -> list[Tensor]:
        return [tensor]


@dataclass(frozen=True)
class Interleaved:
    """Query, key and value of each head side by side in the file, all queries first in the network.

    Args:
        heads: number of heads.
        innermost: each channel has its query, key and value together (EDM), not each head (guided diffusion).
    """

    heads: int
    innermost: bool = False

    def read(self, parts: Sequence[Tensor]) -> Tensor:
        channels, *rest = parts[0].shape
        if self.innermost:
            split = parts[0].reshape(self.heads, -1, 3, *rest).movedim(2, 0)
        else:
            split = parts[0].reshape(self.heads, 3, -1, *rest).movedim(1, 0)
        return split.reshape(channels, *rest)

    def write(self, tensor: Tensor) -> list[Tensor]:
        channels, *rest = tensor.shape
        split = tensor.reshape(3, self.heads, -1, *rest)
        return [split.movedim(0, 2 if self.innermost else 1).reshape(channels, *rest)]


class Split:
    """Query, key and value in three tensors of the file."""

    def read(self, parts: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(parts))

    def write(self, tensor: Tensor) -> list[Tensor]:
        return list(tensor.chunk(3))


@dataclass(frozen=True)
class WithoutNull:
    """A table of labels without the row of the null label, which becomes zeros; `transposed` if labels are columns."""

    transposed: bool = False

    def read(self, parts: Sequence[Tensor]) -> Tensor:
        table = parts[0].T if self.transposed else parts[0]
        return torch.cat([table, torch.zeros_like(table[:1])])

    def write(self, tensor: Tensor) -> list[Tensor]:
        return [tensor[:-1].T if self.transposed else tensor[:-1]]


@dataclass(frozen=True)
class SwappedHalves:
    """Columns of the first time layer where cosines precede sines in the file, and follow them in the network."""

    def read(self, parts: Sequence[Tensor]) -> Tensor:
        return torch.cat(parts[0].chunk(2, dim=1)[::-1], dim=1)

    def write(self, tensor: Tensor) -> list[Tensor]:
        return [torch.cat(tensor.chunk(2, dim=1)[::-1], dim=1)]


@dataclass(frozen=True)
class Entry:
    """The place and the layout of a tensor in a file.

    Args:
        names: of the tensors in the file that it is made of.
        layout: the way between them.
        dims: number of dimensions in the file, where it leaves out trailing ones of size 1: a 1 x 1 convolution that is
            a linear layer there, or a scalar.
    """

    names: tuple[str, ...]
    layout: Layout = Same()
    dims: int | None = None

    def read(self, tensors: Mapping[str, Tensor], shape: Sequence[int]) -> Tensor | None:
        """Return the network's tensor of a shape; None if the file's tensors do not fit it."""
        try:
            found = self.layout.read([tensors[name] for name in self.names])
        except RuntimeError:
            return None
        same = [n for n in found.shape if n > 1] == [n for n in shape if n > 1]
        return found.reshape(shape) if same else None

    def write(self, tensor: Tensor) -> dict[str, Tensor]:
        """Return the file's tensors."""
        parts = self.layout.write(tensor)
        parts = parts if self.dims is None else [part.reshape(part.shape[: self.dims]) for part in parts]
        return dict(zip(self.names, parts, strict=True))


def heads_of(block: nn.Module) -> int:
    """Return the number of heads of a block's self-attention; 0 without."""
    return next((part.heads for part in block.modules() if isinstance(part, (SelfAttention, MPAttention))), 0)


Entries = dict[str, Entry]  # by the names in the network


def renamed(prefix: str, theirs: str, parts: Mapping[str, str], dims: int | None = None) -> Entries:
    """Entries for weight and bias of layers whose names alone differ: `parts` has the file's name of each."""
    return {
        f"{prefix}{own}.{kind}": Entry((f"{theirs}{name}.{kind}",), dims=dims if kind == "weight" else None)
        for own, name in parts.items()
        for kind in ("weight", "bias")
    }


def read_state(tensors: Mapping[str, Tensor], network: nn.Module, entries: Entries) -> dict[str, Tensor]:
    """Return the network's state from the tensors of a file.

    Raises:
        ConfigError: a tensor is missing, has another shape, or is left over.
    """
    state, wanted = {}, network.state_dict()
    for own, expected in wanted.items():
        entry = entries[own]
        if missing := [name for name in entry.names if name not in tensors]:
            raise ConfigError(f"the file has no {missing[0]}, of which {own} of the network is made")
        found = entry.read(tensors, expected.shape)
        if found is None:
            shape = tuple(tensors[entry.names[0]].shape)
            raise ConfigError(
                f"{entry.names[0]} is {shape} in the file; {own} of the network is {tuple(expected.shape)}"
            )
        state[own] = found.to(expected.dtype, copy=True)
    used = {name for own in wanted for name in entries[own].names}
    if extra := sorted(tensors.keys() - used):
        raise ConfigError(f"the file also has {', '.join(extra[:3])}, for which the network has no place")
    return state


def write_state(state: Mapping[str, Tensor], entries: Entries) -> dict[str, Tensor]:
    """Return the tensors of a file from a network's state."""
    tensors: dict[str, Tensor] = {}
    for own, tensor in state.items():
        tensors |= entries[own].write(tensor)
    return tensors
