"""Tasks that change an example: SDEdit, inversion, interpolation and variations."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from mezzotint.diffusion import edit, interpolate_images, invert, sample, vary
from mezzotint.generation.editing.base import Edits, EditTask, Given, decoded, share, stacked


@dataclass(frozen=True)
class SDEdit(EditTask):
    """Noise is added to an example and taken away again, so that it becomes one of the data.

    Source: Meng et al. 2021, https://arxiv.org/abs/2108.01073

    Args:
        strength: fraction of the grid's steps: 0 returns the example, 1 discards it.
        count: results for each example.
    """

    positive = ("count",)

    strength: float = 0.5
    count: int = 1

    def __post_init__(self) -> None:
        share(self.strength)

    def edit(self, given: Given) -> Edits:
        x = given.codec.encode(given.stored)
        results = [
            edit(
                given.denoise,
                given.sampler,
                given.grid,
                x,
                given.noise(f"sdedit{i}"),
                self.strength,
                given.steps,
                **given.condition,
            )
            for i in range(self.count)
        ]
        return Edits(decoded(given.codec, stacked(results)))


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
class Variation(EditTask):
    """Examples near a given one: its noise, rotated towards fresh noise, is sampled again.

    Args:
        strength: share of fresh noise: 0 returns the example, 1 discards it.
        count: results for each example.
    """

    positive = ("count",)
    inverts: ClassVar[bool] = True

    strength: float = 0.3
    count: int = 4

    def __post_init__(self) -> None:
        share(self.strength)

    def edit(self, given: Given) -> Edits:
        x = given.codec.encode(given.stored)
        results = [
            vary(
                given.denoise,
                given.sampler,
                given.grid,
                x,
                given.noise(f"variation{i}"),
                self.strength,
                **given.condition,
            )
            for i in range(self.count)
        ]
        return Edits(decoded(given.codec, stacked(results)))
