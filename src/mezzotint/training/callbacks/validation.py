"""The validation loss: the same times and the same noise every time, so that two numbers can be compared."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mezzotint.data.dataset import examples_of
from mezzotint.errors import ConfigError, DataError
from mezzotint.training.callbacks.base import PeriodicCallback
from mezzotint.training.fixed_draws import APART, FixedDraws
from mezzotint.training.interval_plan import IntervalPlan, Share, check_share, fewer_images
from mezzotint.training.training_run import Score, TrainingRun

LEAST = 16  # examples in a share: a mean over fewer says little
USUAL_SHARE = 0.02  # of the arithmetic of training
ENOUGH = 256  # examples of a look: there are fewer looks before there are fewer


class Validation(PeriodicCallback):
    """Loss of the averaged weights on held-out images: in total, and in equal shares of the training times.

    Times and noise depend on the example's number alone, examples are split over ranks without padding and summed in
    float64: the number is the same on any number of processes up to rounding. Share 0 is the cleanest. Of few images
    each is an example several times, so that every share has some.

    Args:
        every: images between two looks, or below 1 the share of the budget; the end is always looked at.
        images: at most this many images of the test split.
        bins: shares of the times.
        share: of the arithmetic of training that all looks may cost together. Where `images` cost more, fewer are
            looked at, and below 256 there are fewer looks; the end is always looked at, at 16 examples a share. "auto"
            is 0.02, and no limit as long as they cost next to nothing; None looks at all images every time.
    """

    order = 0

    def __init__(self, every: float = 0.1, images: int = 2048, bins: int = 8, share: Share = "auto") -> None:
        if every <= 0 or images < 1 or bins < 1 or not check_share(share):
            raise ValueError(f"every={every}, images={images}, bins={bins}, share={share}: all must be above 0")
        self.every, self.images, self.bins = every, images, bins
        self.share: Share = share

    def plan_intervals(self, run: TrainingRun) -> IntervalPlan:
        images, fewest = min(self.images, self.held_out(run)), LEAST * self.bins
        examples = IntervalPlan(run.occasions(self.every), images * repeats(images, self.bins))
        found = fewer_images(run.allowed_passes(self.share, USUAL_SHARE), examples, max(ENOUGH, fewest), fewest)
        images = min(images, found.images)
        return replace(found, images=images, steps=repeats(images, self.bins))

    def describe_passes(self, run: TrainingRun) -> str:
        plan = self.plan_intervals(run)
        return f"{plan.count:,} times {plan.images:,} images" + f" at {plan.steps} times each" * (plan.steps > 1)

    def held_out(self, run: TrainingRun) -> int:
        """Return the number of images of the test split, or what is wanted where only a data module knows it."""
        try:
            return len(examples_of(run.dataset, "test"))
        except ConfigError:
            return self.images

    def on_interval(self, run: TrainingRun) -> None:
        denoiser = run.average()
        sums = self.sums(run, denoiser)
        images = int(sums[1].sum())
        if not images:
            raise DataError("there are no held-out images to validate on; leave it out by callbacks.validation=null")
        for turn in range(1, repeats(images, self.bins)):
            sums += self.sums(run, denoiser, turn * images)
        totals, counts = sums.cpu()
        means = (totals / counts).tolist()
        loss = float(totals.sum() / counts.sum())
        run.scores["validation"] = Score(run.step, run.images, "validation loss", loss)
        run.report("validation", {"loss": loss} | {f"share_{i}": mean for i, mean in enumerate(means)})

    @torch.no_grad()
    def sums(self, run: TrainingRun, denoiser: Any, first: int = 0) -> Tensor:
        """(2, bins): sums of losses and numbers of examples over all ranks, each image once.

        Args:
            first: number of the first image's example.
        """
        objective = run.module.objective
        most = self.intervals(run).images
        sums = torch.zeros(2, self.bins, dtype=torch.float64)
        for batch in run.validation():
            batch = {name: value[batch["index"] < most] for name, value in batch.items()}
            if not len(batch["index"]):
                break
            draws = FixedDraws(0, batch["index"] + first + APART)
            share = (objective.times.uniforms(draws) * self.bins).long().clamp_(max=self.bins - 1)
            with run.forward():
                losses = run.module.example_losses(
                    denoiser, run.module.transfer_batch_to_device(batch, run.module.device, 0), draws
                )
            sums[0].index_add_(0, share, losses.cpu().double())
            sums[1].index_add_(0, share, torch.ones_like(share, dtype=torch.float64))
        if run.world > 1:
            sums = sums.to(run.module.device)
            torch.distributed.all_reduce(sums)
        return sums


def repeats(images: int, bins: int) -> int:
    """Return how often each image is an example, so that every share of the times has some."""
    return max(1, -(-LEAST * bins // max(1, images)))
