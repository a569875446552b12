"""Pictures of a run while it trains."""

from mezzotint.training.callback import Look, Run


class Preview(Look):
    """A grid of samples from the averaged weights every so many images, always from the same noise and labels.

    Writes samples/step-00001000.png, so that the files of a run are a film of its training; rank 0 draws.

    Args:
        every: images between two grids, or below 1 the share of the budget; the end is always drawn.
        images: how many a grid holds.
    """

    order = 40

    def __init__(self, every: float = 0.1, images: int = 64) -> None:
        if every <= 0 or images < 1:
            raise ValueError(f"every={every}, images={images}: both must be above 0")
        self.every, self.images = every, images

    def look(self, run: Run) -> None:
        if run.sampling is None:
            return
        denoiser = run.average()  # on all ranks, which may have to put it together
        if run.rank:
            return
        from mezzotint.generation import grid

        data = run.dataset
        generator = run.sampling.generator(denoiser, data.shape, seed=run.seed, classes=data.classes)
        with run.forward():
            images, _ = generator.images(0, self.images)
        file = run.directory / "samples" / f"step-{run.step:08d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        grid(images).save(file)
        for logger in run.loggers:
            logger.picture(run.images, "samples", file)
