"""Discrete schedules by the formulas of their betas."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.attributes import computed

from .discrete import DiscreteSchedule


def _for_thousand(betas: Tensor) -> Tensor:
    """Rescale betas specified for 1000 steps to their own number of steps."""
    return betas * (1000.0 / len(betas))


@dataclass(frozen=True)
class LinearSchedule(DiscreteSchedule):
    """Linear schedule: beta linear in t. Source: Ho et al. 2020, sec. 4, https://arxiv.org/abs/2006.11239

    Args:
        steps: T.
        beta_start, beta_end: the first and last beta at T = 1000; other T multiply both by 1000 / T.
    """

    positive = ("beta_end",)
    natural = ("beta_start",)

    steps: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02

    def betas(self) -> Tensor:
        return _for_thousand(torch.linspace(self.beta_start, self.beta_end, self.steps, dtype=torch.float64))


@dataclass(frozen=True)
class ScaledLinearSchedule(DiscreteSchedule):
    """Scaled linear schedule: sqrt(beta) linear in t. Source: Rombach et al. 2022 (code), https://arxiv.org/abs/2112.10752

    Args:
        steps: T.
        beta_start, beta_end: the first and last beta at T = 1000; other T multiply both by 1000 / T.
    """

    positive = ("beta_end",)
    natural = ("beta_start",)

    steps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012

    def betas(self) -> Tensor:
        return _for_thousand(
            torch.linspace(self.beta_start**0.5, self.beta_end**0.5, self.steps, dtype=torch.float64) ** 2
        )


@dataclass(frozen=True)
class SigmoidBetaSchedule(DiscreteSchedule):
    """beta = beta_start + (beta_end - beta_start) sigmoid(u), u linear from -6 to 6. Source: Xu et al. 2022 (code), https://arxiv.org/abs/2203.02923

    Args:
        steps: T.
        beta_start, beta_end: the limits of beta at T = 1000; other T multiply both by 1000 / T.
    """

    positive = ("beta_end",)
    natural = ("beta_start",)

    steps: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02

    def betas(self) -> Tensor:
        shape = torch.linspace(-6.0, 6.0, self.steps, dtype=torch.float64).sigmoid()
        return _for_thousand(self.beta_start + (self.beta_end - self.beta_start) * shape)


@dataclass(frozen=True)
class CosineSchedule(DiscreteSchedule):
    """alpha_bar(t) = f(t) / f(0), f(t) = cos^2(pi/2 (t/T + s) / (1 + s)), betas at most `max_beta`.

    Source: Nichol and Dhariwal 2021, eq. 17, https://arxiv.org/abs/2102.09672

    Args:
        steps: T.
        offset: s; keeps the first steps from vanishing.
        max_beta: upper bound of beta, which keeps alpha > 0 at the last level.
    """

    positive = ("max_beta",)
    natural = ("offset",)

    steps: int = 1000
    offset: float = 0.008
    max_beta: float = 0.999

    def betas(self) -> Tensor:
        u = torch.linspace(0.0, 1.0, self.steps + 1, dtype=torch.float64)
        f = torch.cos((u + self.offset) / (1.0 + self.offset) * (math.pi / 2)) ** 2
        return (1.0 - f[1:] / f[:-1]).clamp(max=self.max_beta)


@dataclass(frozen=True)
class SigmoidSchedule(DiscreteSchedule):
    """alpha_bar(t) = (v(1) - v(t/T)) / (v(1) - v(0)), v(u) = sigmoid((start + (end - start) u) / tau), betas capped.

    Source: Chen 2023, https://arxiv.org/abs/2301.10972; Jabri et al. 2022, https://arxiv.org/abs/2212.11972

    Args:
        steps: T.
        start, end: range of the sigmoid's argument.
        tau: temperature.
        max_beta: upper bound of beta, which keeps alpha > 0 at the last level.
    """

    positive = ("max_beta", "tau")

    steps: int = 1000
    start: float = -3.0
    end: float = 3.0
    tau: float = 1.0
    max_beta: float = 0.999

    def betas(self) -> Tensor:
        u = torch.linspace(0.0, 1.0, self.steps + 1, dtype=torch.float64)
        v = ((self.start + (self.end - self.start) * u) / self.tau).sigmoid()
        f = v[-1] - v
        return (1.0 - f[1:] / f[:-1]).clamp(max=self.max_beta)


@dataclass(frozen=True)
class TabulatedSchedule(DiscreteSchedule):
    """A schedule of explicit betas.

    Args:
        values: the betas, each in (0, 1); the last may be 1.
    """

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(float(b) for b in self.values))
        super().__post_init__()

    @computed
    def steps(self) -> int:
        return len(self.values)

    def betas(self) -> Tensor:
        return torch.tensor(self.values, dtype=torch.float64)


@dataclass(frozen=True)
class ZeroTerminalSNRSchedule(DiscreteSchedule):
    """Another table with alpha shifted and rescaled so that its last entry is 0 and its first noisy one is unchanged.

    alpha <- (alpha - alpha_T) alpha_1 / (alpha_1 - alpha_T). Epsilon and score cannot be decoded at its end.

    Source: Lin et al. 2023, alg. 1, https://arxiv.org/abs/2305.08891

    Args:
        schedule: the table to rescale.
    """

    schedule: DiscreteSchedule

    @computed
    def steps(self) -> int:
        return self.schedule.steps

    def betas(self) -> Tensor:
        alpha = torch.as_tensor(self.schedule.level(torch.arange(1, self.steps + 1)).alpha)
        first, last = alpha[0], alpha[-1]
        alpha_bar = torch.cat([alpha.new_ones(1), ((alpha - last) * (first / (first - last))) ** 2])
        return 1.0 - alpha_bar[1:] / alpha_bar[:-1]
