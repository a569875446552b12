"""Pictures of a run while it trains."""

from typing import Any

import torch
from torch import Tensor

from mezzotint.atomic import atomic_path
from mezzotint.data.dataset import codec_of
from mezzotint.generation import SamplingRecipe
from mezzotint.runs import RunDir
from mezzotint.training.amounts import least
from mezzotint.training.callbacks.base import PeriodicCallback
from mezzotint.training.interval_plan import IntervalPlan, Share, check_share, fewer_steps
from mezzotint.training.training_run import TrainingRun

USUAL_SHARE = 0.03  # of the arithmetic of training
EARLY = (0.025, 6400)  # images until the first grid, the least of a share of the budget and a number
FEWER_STEPS = (20, 10)  # to draw in, where those of the sampler's grid cost too much


class Preview(PeriodicCallback):
    """A grid of samples from the averaged weights every so many images, always from the same noise and labels.

    Writes samples/step-00001000.png, so that the files of a run are a film of its training. Every rank draws its share,
    so that none waits for another one to draw them all. A first grid comes after a fortieth of the budget, or 6,400
    images if that is less, unless `every` is a number of images below 6,400.

    Args:
        every: images between two grids, or below 1 the share of the budget; the end is always drawn.
        images: how many a grid holds, at most.
        share: of the arithmetic of training that all grids may cost together. Where they cost more, a grid holds fewer
            images and is drawn in 20 or 10 steps, and then there are fewer grids; one of 4 images is drawn at any cost.
            "auto" is 0.03, and no limit as long as they cost next to nothing; None draws all images in all steps.
        sampling: the recipe for them; None takes that of the run, and draws nothing where there is none. In a Trainer
            of one's own it is DDIM in 50 steps.
    """

    order = 40

    def __init__(
        self, every: float = 0.1, images: int = 64, share: Share = "auto", sampling: SamplingRecipe | None = None
    ) -> None:
        if every <= 0 or images < 1 or not check_share(share):
            raise ValueError(f"every={every}, images={images}, share={share}: all must be above 0")
        self.every, self.images, self.sampling = every, images, sampling
        self.share: Share = share

    def plan_intervals(self, run: TrainingRun) -> IntervalPlan:
        recipe = self.recipe(run)
        if recipe is None:
            return super().plan_intervals(run)
        early = least(EARLY, run.budget)
        early = early if early < run.count(self.every) and (self.every < 1 or self.every > EARLY[1]) else None
        count = min(run.steps, run.occasions(self.every) + (early is not None))
        steps, calls = recipe.steps(run.module.denoiser.schedule), recipe.sampler.calls or 2
        wanted = IntervalPlan(count, self.images, steps, calls, early)
        allowed = run.allowed_passes(self.share, USUAL_SHARE)
        return fewer_steps(allowed, wanted, FEWER_STEPS if recipe.takes_steps else ())

    def recipe(self, run: TrainingRun) -> SamplingRecipe | None:
        return self.sampling or run.sampling

    def on_interval(self, run: TrainingRun) -> None:
        if self.recipe(run) is None:
            return
        images = self.draw(run)
        if run.rank:
            return
        from mezzotint.figures import as_images, grid

        file = RunDir(run.directory).preview_file(run.step)
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as part:
            grid(as_images(images, codec_of(run.dataset))).save(part)
        for logger in run.loggers:
            logger.picture(run.images, "samples", file)

    def draw(self, run: TrainingRun) -> Tensor:
        """The samples as data are stored, (N, C, *size) on the CPU, on every rank."""
        data, plan, recipe = run.dataset, self.intervals(run), self.recipe(run)
        if plan.steps != recipe.steps(run.module.denoiser.schedule):
            recipe = recipe.with_steps(plan.steps)
        generator = recipe.of_dataset(run.average(), data, run.seed)
        count = plan.images
        first, last = (count * rank // run.world for rank in (run.rank, run.rank + 1))
        mine = torch.empty(0, *data.shape, dtype=generator.codec.dtype)
        if first < last:
            with run.forward():
                mine, _ = generator.images(first, last)
        if run.world == 1:
            return mine
        shares: list[Any] = [None] * run.world
        torch.distributed.all_gather_object(shares, mine)
        return torch.cat(shares)
