"""The sampler interface: one step between two noise levels."""

import abc
from typing import Any

import torch
from torch import Tensor

from mezzotint.finite import Finite

from ..denoiser import Predict
from ..grids.spacings import Grid
from ..levels import NoiseLevel
from ..noise_sources import NoiseSource

State = Any  # solver state carried from step to step; None before the first step unless `init` returns something else


def rho(level: NoiseLevel) -> float:
    """sigma / alpha of a float level; inf for pure noise."""
    return float(level.ratio)


def lam(level: NoiseLevel) -> float:
    """lambda = log(alpha / sigma) of a float level; infinite at both ends."""
    return float(level.half_log_snr)


def add_scaled_(x: Tensor, value: Tensor, weight: float) -> Tensor:
    """x + weight value, in place while gradients are off: only for an x that the caller has just allocated."""
    return torch.add(x, value, alpha=weight) if torch.is_grad_enabled() else x.add_(value, alpha=weight)


class Sampler(metaclass=Finite):
    """A frozen object that steps x from the level `now` to the level `next`.

    A subclass overrides the properties that differ from these defaults:

    - `order`: global order of the error on the probability-flow ODE; None for stochastic samplers.
    - `weak_order`: order of the error of mean and variance of a stochastic sampler; None for deterministic ones.
    - `calls`: denoiser calls per step; None where it varies. A step to a clean level may need fewer, and a first step
      that does not start in noise one or two more (see `warm_start.py`).
    - `order_from_noise`: the order observed on fine grids that start in noise; by default `order`.
    - `turns`: whether the sampler supports grids that go both up and down in noise. Samplers that use earlier steps, or
      add noise on the way down, do not; wrapped in `Renoised`, every sampler does.
    - `one_step`: whether a step depends on x alone, and not on earlier steps.
    - `repeats_steps`: whether a step is repeated from the start of it, which discards changes made to x since.
    - `renews_noise`: whether a step draws all of its noise anew and keeps x0 alone, as consistency functions need.
    - `cfg_pp`: whether the step is published for CFG++, whose x0 and eps do not belong to one x.
    """

    @property
    def order(self) -> int | None:
        return None

    @property
    def weak_order(self) -> int | None:
        return None

    @property
    def calls(self) -> int | None:
        return 1

    @property
    def order_from_noise(self) -> int | None:
        return self.order

    @property
    def turns(self) -> bool:
        return True

    @property
    def one_step(self) -> bool:
        return True

    @property
    def repeats_steps(self) -> bool:
        return False

    @property
    def renews_noise(self) -> bool:
        return False

    @property
    def cfg_pp(self) -> bool:
        return False

    def init(self, grid: Grid) -> State:
        """Return the state before the first step; raise ValueError for a grid that this sampler does not support."""
        return None

    @abc.abstractmethod
    def step(
        self, denoise: Predict, x: Tensor, now: NoiseLevel, next: NoiseLevel, state: State, noise: NoiseSource
    ) -> tuple[Tensor, State]:
        """Return x at `next` and the new state, given x at `now`.

        Args:
            denoise: (x, level) -> Prediction.
            x: the state at `now`, (B, C, H, W).
            noise: (x, now, next) -> standard normal noise shaped like x, independent at every call.
        """
