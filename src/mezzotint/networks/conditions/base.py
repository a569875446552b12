"""The interface of conditions: a frozen description that data, networks and commands share."""

import abc
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mezzotint.diffusion import null_like
from mezzotint.finite import Finite

RESERVED = (  # inputs of networks, keys of batches, and arguments of what passes conditions on by name
    "all", "augment", "coordinate", "denoise", "denoiser", "draws", "eps", "estimate", "first", "grid", "image",
    "index", "label", "last", "least", "level", "measurement", "method", "n_probes", "noise", "probes", "rtol",
    "sampler", "self", "spacing", "steps", "strength", "t", "tableau", "time", "variance", "w", "watch", "x", "x0",
)  # fmt: skip


class Channels(nn.Module, abc.ABC):
    """An embedder of values as channels beside x."""

    channels: int


@dataclass(frozen=True)
class Condition(metaclass=Finite):
    """The kind of one condition: shape and dtype of its values, and how a network takes it.

    A value enters a network as a vector that is added to the embedding of the time, as channels beside x, or as tokens
    that the network attends to, whose mean is added to the embedding as well. A kind builds the embedder of its way.
    """

    dtype: ClassVar[torch.dtype] = torch.float32
    derived: ClassVar[bool] = False  # computed from the example itself by `derive`, and stored nowhere
    supplied: ClassVar[bool] = False  # by the objective and the sampler, not by the data
    positive: ClassVar[tuple[str, ...]] = ()

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of one example's value."""

    def as_vector(self, outputs: int) -> nn.Module | None:
        """Return the embedder of values (B, *shape) as vectors (B, outputs), or None."""
        return None

    def as_channels(self, size: Sequence[int]) -> Channels | None:
        """Return the embedder of values (B, *shape) as channels (B, its `channels`, *size) beside x, or None."""
        return None

    def as_tokens(self, outputs: int) -> nn.Module | None:
        """Return the embedder of values (B, *shape) as tokens (B, L, outputs) and a mask (B, L) of those that count,
        or None."""
        return None

    def null(self, batch: int, device: torch.device | str | None = None) -> Tensor:
        """Return the null value of so many examples."""
        return null_like(torch.zeros(batch, *self.shape, dtype=self.dtype, device=device))

    def derive(self, x: Tensor) -> Tensor:
        """Return the values of examples x (B, C, *size), as the network sees them, of a derived kind."""
        raise NotImplementedError(f"{type(self).__name__} is not derived from the example")

    def mirrored(self, values: Tensor) -> Tensor:
        """Return the values (B, *shape) of examples that are flipped along their last axis."""
        return values

    def numbers(self, stored: Tensor) -> Tensor:
        """Return stored values as those that the network takes.

        Raises:
            ValueError: they are fractions, and those of this kind are integers.
        """
        if stored.is_floating_point() and not self.dtype.is_floating_point:
            raise ValueError(f"it is {str(stored.dtype).removeprefix('torch.')} and not {self.wanted()}")
        return stored.to(self.dtype)

    def encode(self, value: Any) -> Tensor:
        """Return the value of one example, such as a number, a list or a text of the command line, as a tensor.

        Raises:
            ValueError: it is no value of this kind.
        """
        try:
            given = torch.as_tensor(value)
            tensor = given.to(self.dtype)
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(f"{value!r} is not {self.wanted()}") from None
        if not self.dtype.is_floating_point and given.is_floating_point():
            raise ValueError(f"{value!r} is not {self.wanted()}")
        if tensor.ndim == 0 and self.shape == (1,):
            tensor = tensor.reshape(1)
        self.check(tensor[None])
        return tensor

    def encode_all(self, values: Sequence[Any]) -> Tensor:
        """Return the values of N examples, (N, *shape). Raises ValueError: one is no value of this kind."""
        return torch.stack([self.encode(value) for value in values])

    def check(self, values: Tensor) -> None:
        """Raise ValueError unless these are values (B, *shape) of this kind, none of them null or infinite."""
        if tuple(values.shape[1:]) != self.shape:
            raise ValueError(f"it has the shape {list(values.shape[1:])} and not that of {self.wanted()}")
        if values.is_floating_point() and (wrong := ~values.isfinite().flatten(1).all(1)).any():
            raise ValueError(
                f"it is NaN or infinite in {int(wrong.sum())} of {len(values)} examples, first in number "
                f"{int(wrong.nonzero()[0])}"
            )

    def wanted(self) -> str:
        """Return a description of one value, for messages."""
        return f"{str(self.dtype).removeprefix('torch.')} of shape {list(self.shape)}"


def check_names(names: Collection[str]) -> None:
    """Raise ValueError for a name of a condition that is no word, or already has a meaning."""
    for name in names:
        if not (isinstance(name, str) and name.isidentifier() and not hasattr(nn.ModuleDict, name)):
            raise ValueError(f"{name!r} cannot be the name of a condition: give a word of letters, digits and _.")
        if name in RESERVED:
            raise ValueError(f"{name!r} cannot be the name of a condition: it already means something else.")
