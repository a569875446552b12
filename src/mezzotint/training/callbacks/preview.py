"""Pictures of a run while it trains."""

from typing import Any

import torch
from torch import Tensor

from mezzotint.atomic import atomic_path
from mezzotint.data.dataset import codec_of
from mezzotint.generation import SamplingRecipe
from mezzotint.runs import RunDir
from mezzotint.training.callbacks.base import PeriodicCallback
from mezzotint.training.training_run import TrainingRun


class Preview(PeriodicCallback):
    """A grid of samples from the averaged weights every so many images, always from the same noise and labels.

    Writes samples/step-00001000.png, so that the files of a run are a film of its training. Every rank draws its share,
    so that none waits for another one to draw them all.

    Args:
        every: images between two grids, or below 1 the share of the budget; the end is always drawn.
        images: how many a grid holds, at most.
        share: of the arithmetic of training that grids may cost; where `images` cost more, a grid holds fewer, though
            never less than 4. None draws all of them.
        sampling: the recipe for them; None takes that of the run, and draws nothing where there is none. In a Trainer
            of one's own it is DDIM in 50 steps.
    """

    order = 40

    def __init__(
        self, every: float = 0.1, images: int = 64, share: float | None = 0.15, sampling: SamplingRecipe | None = None
    ) -> None:
        if every <= 0 or images < 1 or (share is not None and share <= 0):
            raise ValueError(f"every={every}, images={images}, share={share}: all must be above 0")
        self.every, self.images, self.share, self.sampling = every, images, share, sampling

    def passes(self, run: TrainingRun) -> int:
        return 0 if self.recipe(run) is None else self.count(run) * self.steps(run)

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

    def count(self, run: TrainingRun) -> int:
        """Images of a grid: each costs a forward pass a step of the sampler's grid."""
        return run.affordable(self.images, self.every, self.share, self.steps(run), least=4)

    def steps(self, run: TrainingRun) -> int:
        return len(self.recipe(run).grid(run.module.denoiser.schedule)) - 1

    def draw(self, run: TrainingRun) -> Tensor:
        """The samples as data are stored, (N, C, *size) on the CPU, on every rank."""
        data = run.dataset
        generator = self.recipe(run).of_dataset(run.average(), data, run.seed)
        count = self.count(run)
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
