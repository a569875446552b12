"""Weights: how much the error at a level counts.

A weight is stated on the squared error of x0 and divided by what the target implies, so that it means the same for
every target (`Target.weight`). `Plain` alone leaves the target's own error as it is.
"""

import abc
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from .elementary import Number
from .levels import NoiseLevel
from .targets import Target


class Weight(abc.ABC):
    """weight(level, target, density): the factor on the squared error of the target, a number or (B,) float64."""

    @abc.abstractmethod
    def on_x0(self, level: NoiseLevel, density: Callable[[], Tensor]) -> Number:
        """The factor on the squared error of x0. `density()` is that of the log-SNR under the time distribution."""

    def __call__(self, level: NoiseLevel, target: Target, density: Callable[[], Tensor]) -> Number:
        return self.on_x0(level, density) / target.weight(level)


@dataclass(frozen=True)
class Plain(Weight):
    """The target's error as it is: L_simple for epsilon. Source: Ho et al. 2020, eq. 14, https://arxiv.org/abs/2006.11239"""

    def on_x0(self, level: NoiseLevel, density: Callable[[], Tensor]) -> Number:
        raise ValueError("weight=Plain has no form on x0 of its own: it takes the target's. Call the weight itself.")

    def __call__(self, level: NoiseLevel, target: Target, density: Callable[[], Tensor]) -> Number:
        return 1.0
