"""Tasks that change an example: SDEdit, inversion, interpolation and variations."""

import abc
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mezzotint.diffusion import edit, interpolate_images, invert, sample, vary
from mezzotint.generation.editing.base import Edits, EditTask, Given, decoded, share, stacked


@dataclass(frozen=True)
class Rerolled(EditTask):
    """Several results for each example, each with fresh noise.

    Args:
        strength: 0 returns the example, 1 discards it.
        count: results for each example.
    """

    positive = ("count",)
    purpose: ClassVar[str]  # of the fresh noise

    strength: float = 0.5
    count: int = 1

    def __post_init__(self) -> None:
        share(self.strength)

    @abc.abstractmethod
    def changed(self, given: Given, x: Tensor, eps: Tensor) -> Tensor:
        """Return examples x (B, C, *size) changed by unit noise eps of their shape."""

    def edit(self, given: Given) -> Edits:
        x = given.codec.encode(given.stored)
        results = [self.changed(given, x, given.noise(f"{self.purpose}{i}")) for i in range(self.count)]
        return Edits(decoded(given.codec, stacked(results)))


@dataclass(frozen=True)
class SDEdit(Rerolled):
    """Noise is added to an example and taken away again, so that it becomes one of the data.

    Source: Meng et al. 2021, https://arxiv.org/abs/2108.01073

    Args:
        strength: fraction of the grid's steps: 0 returns the example, 1 discards it.
        count: results for each example.
    """

    purpose = "sdedit"

    def changed(self, given: Given, x: Tensor, eps: Tensor) -> Tensor:
        return edit(given.denoise, given.sampler, given.grid, x, eps, self.strength, given.steps, **given.condition)


@dataclass(frozen=True)
class Inversion(EditTask):
    """The unit noise of an example, and the example sampled from it again.

    Source: Song et al. 2020, sec. 5.4, https://arxiv.org/abs/2010.02502
    """

    inverts: ClassVar[bool] = True

    def edit(self, given: Given) -> Edits:
        x = given.codec.encode(given.stored)
        eps = invert(given.denoise, given.sampler, given.grid, x, **given.condition)
        again = sample(given.denoise, given.sampler, given.grid, eps, noise=None, watch=None, **given.condition)
        return Edits(
            decoded(given.codec, again[:, None]), truth=given.stored.cpu(), arrays={"noise": eps.float().cpu()}
        )


@dataclass(frozen=True)
class Interpolation(EditTask):
    """The way from each example to the next one, through their noises; conditions are those of the first.

    Source: Song et al. 2020, sec. 5.3, https://arxiv.org/abs/2010.02502

    Args:
        points: results in a row, with both ends.
    """

    pairs: ClassVar[bool] = True
    inverts: ClassVar[bool] = True

    points: int = 7

    def __post_init__(self) -> None:
        if self.points < 2:
            raise ValueError(f"points={self.points}: give 2 or more")

    def edit(self, given: Given) -> Edits:
        first, last = (given.codec.encode(stored) for stored in (given.stored, given.partner))
        results = [
            interpolate_images(given.denoise, given.sampler, given.grid, first, last, float(w), **given.condition)
            for w in torch.linspace(0, 1, self.points)
        ]
        return Edits(decoded(given.codec, stacked(results)))


@dataclass(frozen=True)
class Variation(Rerolled):
    """Examples near a given one: its noise, rotated towards fresh noise, is sampled again.

    Args:
        strength: share of fresh noise: 0 returns the example, 1 discards it.
        count: results for each example.
    """

    inverts: ClassVar[bool] = True
    purpose = "variation"

    strength: float = 0.3
    count: int = 4

    def changed(self, given: Given, x: Tensor, eps: Tensor) -> Tensor:
        return vary(given.denoise, given.sampler, given.grid, x, eps, self.strength, **given.condition)
