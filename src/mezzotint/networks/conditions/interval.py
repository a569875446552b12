"""The second time of a network that predicts an average velocity."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from .base import Condition
from .vector import fourier_features


@dataclass(frozen=True)
class IntervalCondition(Condition):
    """The time t - r over which a mean flow averages, float32 (), from 0 to 1, beside the network's time t.

    Its embedding is less that of 0: without an interval, r = t, the network is the one without this condition. The
    objective and the sampler give it, and the data do not.

    Source: Geng et al. 2025, table 1c, https://arxiv.org/abs/2505.13447; few and low frequencies keep the derivative
    by the time small, Lu and Song 2024, sec. 4.1, https://arxiv.org/abs/2410.11081

    Args:
        frequencies: sines and cosines of the interval, with periods 8, 4, 2, ...
    """

    supplied: ClassVar[bool] = True
    natural: ClassVar[tuple[str, ...]] = ("frequencies",)

    frequencies: int = 6

    @property
    def shape(self) -> tuple[int, ...]:
        return ()

    def as_vector(self, outputs: int) -> nn.Module:
        return IntervalEmbedding(self.frequencies, outputs)

    def null(self, batch: int, device: torch.device | str | None = None) -> Tensor:
        """Return intervals of 0: r = t."""
        return torch.zeros(batch, device=device)

    def wanted(self) -> str:
        return "a time from 0 to 1"


class IntervalEmbedding(nn.Module):
    """h(interval) - h(0), h = W' silu(W [y | sin(w y) | cos(w y)]), which is exactly 0 at 0: (B,) -> (B, outputs)."""

    def __init__(self, frequencies: int, outputs: int) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.first = nn.Linear(1 + 2 * frequencies, outputs)
        self.second = nn.Linear(outputs, outputs, bias=False)

    def forward(self, interval: Tensor) -> Tensor:
        return self.second(self.hidden(interval) - self.hidden(torch.zeros_like(interval)))

    def hidden(self, interval: Tensor) -> Tensor:
        features = fourier_features(interval[:, None], self.frequencies)
        return functional.silu(self.first(features.to(self.first.weight.dtype)))
