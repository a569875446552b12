"""The number, images and steps of a periodic callback's looks, so that they cost a bounded share of the training.

Counted in forward passes from the config alone, never by a clock: a resumed run, and every rank, works at the same
steps. An image of training takes three passes, since a backward pass is two.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

TRAINING_PASSES = 3
NEGLIGIBLE = 5e9  # operations that a core does in a fraction of a second: fewer would save nothing

Share = float | Literal["auto"] | None  # of the arithmetic of training; None for no limit


def check_share(share: Share) -> bool:
    """Return whether a share can be one: above 0, "auto", or None for no limit."""
    return share is None or share == "auto" or (not isinstance(share, str) and share > 0)


@dataclass(frozen=True)
class IntervalPlan:
    """Occasions in all of training, the end included.

    Args:
        count: number of occasions.
        images: images of each.
        steps: steps of a sampler's grid in which an image is drawn.
        calls: forward passes of a step.
        early: images after which there is an additional occasion, which counts; None for none.
    """

    count: int
    images: int = 1
    steps: int = 1
    calls: int = 1
    early: int | None = None

    @property
    def passes(self) -> int:
        """Forward passes of all occasions."""
        return self.count * self.images * self.steps * self.calls

    def __str__(self) -> str:
        steps = f" in {self.steps} steps" if self.steps > 1 else ""
        return f"{self.count:,} times {self.images:,} images{steps}"

    def interval(self, budget: int) -> int:
        """Return the images from one occasion to the next."""
        return -(-budget // max(1, self.count - (self.early is not None)))


def fewer_occasions(allowed: float, wanted: IntervalPlan) -> IntervalPlan:
    """Return the plan with as many occasions as cost at most `allowed` forward passes, but one in any case."""
    count = min(wanted.count, max(1, int(min(allowed, wanted.passes) * wanted.count / wanted.passes)))
    return replace(wanted, count=count, early=wanted.early if count > 1 else None)


def fewer_images(allowed: float, wanted: IntervalPlan, least: int, fewest: int) -> IntervalPlan:
    """Return the plan with fewer images each where it costs too much; with fewer occasions before less than `least`.

    Args:
        fewest: images of a single occasion, at any cost.
    """
    cost = wanted.steps * wanted.calls
    images = min(wanted.images, math.floor(min(allowed, wanted.passes) / (cost * wanted.count)))
    if images >= min(least, wanted.images):
        return replace(wanted, images=images)
    found = fewer_occasions(allowed, replace(wanted, images=min(least, wanted.images)))
    if found.passes <= allowed:
        return replace(found, images=min(wanted.images, int(allowed / (cost * found.count))))
    return replace(found, images=min(wanted.images, max(fewest, int(allowed / cost))))


GRID_IMAGES, ROW, FEWEST = 16, 8, 4  # images of a grid: enough, of one row, at any cost


def fewer_steps(allowed: float, wanted: IntervalPlan, steps: Sequence[int]) -> IntervalPlan:
    """Return a plan of sample grids: of fewer steps before a grid has fewer than 16 images, then of fewer grids.

    A grid has 8 images or more, and 4 where there would not be an early one otherwise, or at any cost.

    Args:
        steps: numbers of steps to draw in instead of the wanted one, from high to low.
    """
    choices = [replace(wanted, steps=number) for number in (wanted.steps, *steps) if number <= wanted.steps]
    for choice in choices:
        found = fewer_images(allowed, choice, GRID_IMAGES, FEWEST)
        if found.count == wanted.count and found.images >= min(GRID_IMAGES, wanted.images):
            return complete_rows(found, wanted.images)
    found = complete_rows(fewer_images(allowed, choices[-1], ROW, FEWEST), wanted.images)
    if found.early == wanted.early:
        return found
    return complete_rows(fewer_images(allowed, choices[-1], FEWEST, FEWEST), wanted.images)


def complete_rows(plan: IntervalPlan, wanted: int) -> IntervalPlan:
    """Return a plan whose grids have no row of less than 8 images, unless that is the only one or they have all."""
    if ROW < plan.images < wanted:
        return replace(plan, images=plan.images - plan.images % ROW)
    return plan
