"""The interface of tasks: what becomes of a batch of given examples."""

import abc
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from mezzotint.data.codecs.base import Codec
from mezzotint.diffusion import Denoise, KeyedRandom, RestorationMethod, Spacing, WhiteNoise
from mezzotint.diffusion.samplers import Sampler
from mezzotint.finite import Finite

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Given:
    """A batch of given examples and what they are edited with.

    Args:
        stored: the examples as they are stored, (B, C, *size), on the device.
        partner: the examples that follow them, for interpolation; else the same.
        draws: keyed random numbers of the examples.
        names: their names.
        condition: conditions (B, ...) by name, on the device.
        denoise: the denoiser, with guidance.
        sampler, grid: the solver and its noise levels.
        shape: of x, (C, *size).
        example: of examples of the model as they are stored, (C, *size).
        codec: conversion between stored examples and x.
        method: of inverse problems; None takes the default.
    """

    stored: Tensor
    partner: Tensor
    draws: KeyedRandom
    names: tuple[str, ...]
    condition: dict[str, Tensor]
    denoise: Denoise
    sampler: Sampler
    grid: Spacing
    shape: Shape
    example: Shape
    codec: Codec
    method: RestorationMethod | None = None

    def noise(self, purpose: str = "sample") -> Tensor:
        """Return keyed unit noise shaped like x."""
        return self.draws.normal(purpose, self.shape).to(self.stored.device)

    @property
    def steps(self) -> WhiteNoise:
        """The noise of stochastic samplers."""
        return WhiteNoise(self.draws)


@dataclass(frozen=True, eq=False)
class Edits:
    """The edits of a batch, on the CPU.

    Args:
        results: stored examples (B, K, C, *size): K results for each given one.
        measured: what the method was given, as it is looked at, stored (B, C, *size); None without a measurement.
        truth: what the result should be, stored (B, C, *size); None where it is unknown.
        misfit: root mean square of A x - y for the results x, (B,).
        arrays: more results by name, (B, ...), such as the noise of an inversion.
    """

    results: Tensor
    measured: Tensor | None = None
    truth: Tensor | None = None
    misfit: Tensor | None = None
    arrays: dict[str, Tensor] = field(default_factory=dict)


class EditTask(metaclass=Finite):
    """A kind of edit.

    Attributes:
        methods: whether it is an inverse problem, which a method solves.
        pairs: whether each result is made of two neighbouring examples.
        inverts: whether it solves the ODE backwards, which needs a deterministic sampler.
    """

    methods: ClassVar[bool] = False
    pairs: ClassVar[bool] = False
    inverts: ClassVar[bool] = False

    def shapes(self, stored: Shape) -> tuple[Shape, ...]:
        """Return the shapes that given examples may have, for a model of examples of this one.

        Raises:
            ValueError: the task cannot be done on such examples.
        """
        return (stored,)

    def check(self, stored: Shape, names: tuple[str, ...]) -> None:
        """Check what else the task reads, such as a file of masks. Raises ValueError or DataError."""

    @abc.abstractmethod
    def edit(self, given: Given) -> Edits:
        """Return the edits of a batch."""


def decoded(codec: Codec, results: Tensor) -> Tensor:
    """Return results (B, K, C, *size) as data are stored, on the CPU."""
    stored = codec.decode(results.flatten(0, 1)).cpu()
    return stored.unflatten(0, results.shape[:2])


def share(value: float, name: str = "strength") -> None:
    """Raise ValueError unless a value is a share from 0 to 1."""
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name}={value:g}: give a share from 0 to 1")


def stacked(parts: list[Tensor]) -> Tensor:
    """Return results side by side, (B, K, C, *size)."""
    return torch.stack(parts, 1)
