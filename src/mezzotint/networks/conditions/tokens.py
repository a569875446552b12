"""Sequences of tokens: embeddings of another model, or texts whose words are learned."""

import hashlib
import re
from dataclasses import dataclass
from operator import index
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mezzotint.diffusion import is_null

from .base import Condition
from .labels import check_range


class Tokens(nn.Module):
    """Tokens of one width behind a learned first one, which alone is left of the null: (B, L, ...) -> (B, 1 + L, D).

    Also returns the mask (B, 1 + L) of the tokens that are not padding.

    Args:
        embed: (B, L, ...) without null -> (B, L, outputs).
    """

    def __init__(self, embed: nn.Module, outputs: int) -> None:
        super().__init__()
        self.embed = embed
        self.start = nn.Parameter(torch.zeros(outputs))
        self.norm = nn.LayerNorm(outputs)

    def forward(self, value: Tensor) -> tuple[Tensor, Tensor]:
        absent = is_null(value)
        embedded = self.embed(torch.where(absent, torch.zeros_like(value), value))
        tokens = self.norm(torch.cat([self.start.expand(value.shape[0], 1, -1), embedded], dim=1))
        counts = ~(absent if absent.ndim == 2 else absent.any(2))
        return tokens, torch.cat([torch.ones_like(counts[:, :1]), counts], dim=1)


class Pooled(nn.Linear):
    """A linear layer on the mean of the tokens that count: (B, L, D), (B, L) -> (B, D)."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width)

    def forward(self, tokens: Tensor, counts: Tensor) -> Tensor:  # type: ignore[override]
        weight = counts.to(tokens.dtype)[:, :, None]
        return super().forward((tokens * weight).sum(1) / weight.sum(1))


class Cast(nn.Linear):
    """A linear layer that takes any floating dtype."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.to(self.weight.dtype))


class WordTable(nn.Module):
    """One learned vector per word and one per position: (B, L) int64 -> (B, L, outputs)."""

    def __init__(self, vocabulary: int, length: int, outputs: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, outputs)
        self.positions = nn.Parameter(torch.zeros(length, outputs))

    def forward(self, value: Tensor) -> Tensor:
        return self.words(value) + self.positions


@dataclass(frozen=True)
class EmbeddingCondition(Condition):
    """A sequence of token embeddings of another model, float32 (length, width); rows of NaN are padding.

    Networks with cross-attention attend to the tokens; in all, a layer on their mean joins the embedding of the time.

    Source: Saharia et al. 2022 (Imagen), section 2.2, https://arxiv.org/abs/2205.11487, for both ways.

    Args:
        length: tokens of the longest sequence.
        width: numbers of a token.
    """

    length: int
    width: int

    positive: ClassVar[tuple[str, ...]] = ("length", "width")

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.length, self.width)

    def as_tokens(self, outputs: int) -> Tokens:
        return Tokens(Cast(self.width, outputs), outputs)

    def encode(self, value: Any) -> Tensor:
        try:
            rows = torch.as_tensor(value, dtype=self.dtype)
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(f"{value!r} is not {self.wanted()}") from None
        if rows.ndim != 2 or rows.shape[1] != self.width or len(rows) > self.length:
            raise ValueError(f"{list(rows.shape)} is not the shape of {self.wanted()}")
        padded = torch.cat([rows, self.null(1)[0, len(rows) :]])
        self.check(padded[None])
        return padded

    def check(self, values: Tensor) -> None:
        """As of every condition; a row may be NaN in every number, which is padding."""
        padding = values.isnan().all(2, keepdim=True) if values.ndim == 3 else torch.zeros(1)
        super().check(torch.where(padding.bool(), 0.0, values))

    def wanted(self) -> str:
        return f"at most {self.length} tokens of {self.width} numbers"


@dataclass(frozen=True)
class TextCondition(Condition):
    """A text as the numbers of its words, int64 (length,), with -1 as padding; the words' vectors are learned.

    A word's number is a hash of its lower-case letters, so that there is no list of words to keep: two words share a
    number with a probability of 1 / vocabulary.

    Source: the hashed words of Weinberger et al. 2009, https://arxiv.org/abs/0902.2206

    Args:
        length: words of the longest text; further words are left out.
        vocabulary: number of different vectors.
    """

    length: int = 16
    vocabulary: int = 4096

    dtype: ClassVar[torch.dtype] = torch.int64
    positive: ClassVar[tuple[str, ...]] = ("length", "vocabulary")

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.length,)

    def as_tokens(self, outputs: int) -> Tokens:
        return Tokens(WordTable(self.vocabulary, self.length, outputs), outputs)

    def encode(self, value: Any) -> Tensor:
        """Return the words of a text as numbers; a sequence of numbers passes."""
        try:
            numbers = self.word_numbers(value) if isinstance(value, str) else [index(number) for number in value]
        except TypeError:
            raise ValueError(f"{value!r} is not {self.wanted()}") from None
        numbers = numbers[: self.length]
        tensor = torch.tensor(numbers + [-1] * (self.length - len(numbers)), dtype=self.dtype)
        self.check(tensor[None])
        return tensor

    def word_numbers(self, text: str) -> list[int]:
        return [word_number(word, self.vocabulary) for word in re.findall(r"\w+|[^\w\s]", text.lower())]

    def check(self, values: Tensor) -> None:
        super().check(values)
        check_range(torch.where(is_null(values), 0, values), self.vocabulary)

    def wanted(self) -> str:
        return f"a text of at most {self.length} words"


def word_number(word: str, vocabulary: int) -> int:
    """Return the number of a word, from 0 to vocabulary - 1, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little") % vocabulary
