"""Measurements y = A x0 + std z, and what a method makes of a sampling configuration to sample x0 given y."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

from torch import Tensor

from mezzotint.finite import Finite

from .denoiser import Denoise
from .grids.spacings import Spacing
from .operators import Operator
from .samplers.base import Sampler


@dataclass(frozen=True, eq=False)
class Measurement(metaclass=Finite):
    """y = A x0 + std z.

    Args:
        operator: A.
        y: the measurement (B, ...).
        std: standard deviation of its noise; 0 for a measurement without noise.
    """

    natural = ("std",)

    operator: Operator
    y: Tensor
    std: float = 0.0

    @classmethod
    def of(cls, operator: Operator, x0: Tensor, std: float = 0.0, z: Tensor | None = None) -> Measurement:
        """Return the measurement of clean examples (B, C, *size), with noise z shaped like A x0."""
        y = operator(x0)
        return cls(operator, y if z is None or not std else y + std * z, std)


class Conditioned(NamedTuple):
    """The arguments of `sample` under which its samples are those of x0 given a measurement."""

    denoise: Denoise
    sampler: Sampler
    spacing: Spacing


class RestorationMethod(Protocol):
    """A method that samples x0 given a measurement.

    Attributes:
        replaces: whether it puts known numbers into x, which needs a measurement by `Mask`.
    """

    replaces: ClassVar[bool]

    def condition(self, measurement: Measurement, denoise: Denoise, sampler: Sampler, spacing: Spacing) -> Conditioned:
        """Return what to sample with instead.

        Raises:
            ValueError: the method does not work with this operator or sampler.
        """
        ...
