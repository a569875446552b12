"""What a sampler is: one step between two levels."""

import abc
from typing import Any, ClassVar

import torch
from torch import Tensor

from mezzotint.instantiate.finite import Finite

from ..grids.spacings import Grid
from ..levels import NoiseLevel

State = Any  # whatever a sampler remembers from step to step; None at first unless `init` says otherwise


def rho(level: NoiseLevel) -> float:
    """sigma / alpha of a float level; inf for pure noise."""
    return float(level.ratio)


def lam(level: NoiseLevel) -> float:
    """lambda = log(alpha / sigma) of a float level; infinite at both ends."""
    return float(level.half_log_snr)


def plus(x: Tensor, value: Tensor, weight: float) -> Tensor:
    """x + weight value, in place while gradients are off: for an x that has just been made."""
    return torch.add(x, value, alpha=weight) if torch.is_grad_enabled() else x.add_(value, alpha=weight)


class Sampler(metaclass=Finite):
    """A frozen object that steps x from the level `now` to the level `next`.

    What every sampler declares:

    - `order`: global order of the error on the probability-flow ODE; None for stochastic samplers.
    - `weak_order`: order of the error of mean and variance, for stochastic samplers; None for the others.
    - `calls`: calls of the denoiser a step; None where it varies. A step to a clean level may need fewer, and a first
      step that does not start in noise one or two more (see `starting`).
    - `order_from_noise`: the order that is left on fine grids that start in noise; the same as `order` unless said.
    - `turns`: whether it can walk a grid that goes up and down; what remembers earlier steps, or draws the noise of a
      step down, cannot. `Renoised` makes every sampler do so.
    - `cfg_pp`: whether its step is published for CFG++, whose x0 and eps do not belong to one x.
    """

    order: ClassVar[int | None] = None
    weak_order: ClassVar[int | None] = None
    calls: ClassVar[int | None] = 1

    @property
    def order_from_noise(self) -> int | None:
        return self.order

    @property
    def turns(self) -> bool:
        return True

    @property
    def cfg_pp(self) -> bool:
        return False

    def init(self, grid: Grid) -> State:
        """The state before the first step; raises ValueError for a grid that this sampler cannot walk."""
        return None

    @abc.abstractmethod
    def step(
        self, denoise: Any, x: Tensor, now: NoiseLevel, next: NoiseLevel, state: State, noise: Any
    ) -> tuple[Tensor, State]:
        """x at `next` and the new state, from x at `now`.

        Args:
            denoise: (x, level) -> Prediction.
            noise: (x, now, next) -> unit normal like x, fresh at every call.
        """
