"""Texts as vectors of an encoder that is not trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .base import Condition
from .vector import VectorEmbedding

TextEncoder = Callable[[Sequence[str]], Any]  # N texts -> their vectors, (N, size)


@dataclass(frozen=True)
class SentenceCondition(Condition):
    """A text as the vector of a sentence encoder, float32 (size,), scaled to a root mean square of 1.

    Two linear layers take the vector into the network; a learned vector stands for the null.

    Source: Reimers and Gurevych 2019, https://arxiv.org/abs/1908.10084, for the encoder; the global vector as in
    Nichol et al. 2021 (GLIDE), section 2.4, https://arxiv.org/abs/2112.10741

    Args:
        size: numbers of a vector.
        encoder: N texts to their vectors (N, size), as a tensor, an array or lists; None for data that hold vectors.
    """

    size: int
    encoder: TextEncoder | None = None

    positive: ClassVar[tuple[str, ...]] = ("size",)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size,)

    def as_vector(self, outputs: int) -> nn.Module:
        return VectorEmbedding(self.size, 0, outputs)

    def numbers(self, stored: Tensor) -> Tensor:
        values = super().numbers(stored)
        return values / values.square().mean(-1, keepdim=True).sqrt()

    def encode(self, value: Any) -> Tensor:
        """Return the vector of a text; the numbers of a vector pass."""
        return self.encode_all([value])[0] if isinstance(value, str) else self.numbers(super().encode(value))

    def encode_all(self, values: Sequence[Any]) -> Tensor:
        if not all(isinstance(value, str) for value in values):
            return super().encode_all(values)
        if self.encoder is None:
            raise ValueError(f"{values[0]!r} is a text, and this condition has no encoder: it is {self.wanted()}")
        try:
            found = self.numbers(torch.as_tensor(self.encoder(values)))
        except Exception as error:  # the user's own code
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise ValueError(f"its encoder {type(self.encoder).__name__} returns no vectors ({reason})") from error
        if found.shape != (len(values), self.size):
            raise ValueError(
                f"its encoder returns {list(found.shape)} for {len(values)} texts, not vectors of {self.size}"
            )
        self.check(found)
        return found

    def wanted(self) -> str:
        return f"{self.size} numbers" if self.encoder is None else f"a text, or {self.size} numbers"
