"""Continuous scalars and vectors."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from mezzotint.diffusion import is_null

from .base import Condition


@dataclass(frozen=True)
class VectorCondition(Condition):
    """A continuous scalar (size 1) or vector, float32 (size,), such as an angle, an age or a sentence embedding.

    The numbers and their Fourier features go through two linear layers; a learned vector stands for the null. Give
    numbers of about unit variance: the longest period of the features is 8.

    Source: Mildenhall et al. 2020, eq. 4, https://arxiv.org/abs/2003.08934; Tancik et al. 2020,
    https://arxiv.org/abs/2006.10739; the null vector as in Ho and Salimans 2022, https://arxiv.org/abs/2207.12598

    Args:
        size: numbers of a value.
        frequencies: sines and cosines for each number, with periods 8, 4, 2, ...; 0 for embeddings, which need none.
    """

    size: int = 1
    frequencies: int = 6

    positive: ClassVar[tuple[str, ...]] = ("size",)
    natural: ClassVar[tuple[str, ...]] = ("frequencies",)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size,)

    def as_vector(self, outputs: int) -> nn.Module:
        return VectorEmbedding(self.size, self.frequencies, outputs)

    def wanted(self) -> str:
        return "a number" if self.size == 1 else f"{self.size} numbers"


class VectorEmbedding(nn.Module):
    """W' silu(W [y | sin(w y) | cos(w y)]), and a learned vector for the null: (B, size) -> (B, outputs)."""

    def __init__(self, size: int, frequencies: int, outputs: int) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.first = nn.Linear(size * (1 + 2 * frequencies), outputs)
        self.second = nn.Linear(outputs, outputs)
        self.null = nn.Parameter(torch.zeros(outputs))

    def forward(self, value: Tensor) -> Tensor:
        absent = is_null(value).any(1, keepdim=True)
        features = fourier_features(torch.where(absent, 0.0, value), self.frequencies)
        h = self.second(functional.silu(self.first(features.to(self.first.weight.dtype))))
        return torch.where(absent, self.null, h)


def fourier_features(value: Tensor, frequencies: int) -> Tensor:
    """Return [y | sin(2^k pi y / 4) | cos(2^k pi y / 4)], k = 0 .. frequencies - 1: (B, n) -> (B, n (1 + 2 k))."""
    if not frequencies:
        return value
    k = torch.arange(frequencies, dtype=value.dtype, device=value.device)
    angles = (value[:, :, None] * (math.pi / 4 * 2.0**k)).flatten(1)
    return torch.cat([value, angles.sin(), angles.cos()], dim=1)
