"""The TrainingRun of a Trainer that `fit` did not build."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from mezzotint.data.datamodule import DataModule
from mezzotint.data.image_set import ImageSource
from mezzotint.diffusion import DDIM, Denoiser, Trailing
from mezzotint.errors import ConfigError
from mezzotint.generation import SamplingRecipe
from mezzotint.training import batches
from mezzotint.training.batches import Batch
from mezzotint.training.hardware.sharding import full_tensor
from mezzotint.training.hyperparameters import plan
from mezzotint.training.module import DiffusionModule
from mezzotint.training.tracking.tracker import MediaLogger
from mezzotint.training.training_run import RunHooks, TrainingRun

Average = Callable[[], Denoiser]


def run_of(trainer: pl.Trainer, module: pl.LightningModule, callbacks: Iterable[RunHooks]) -> TrainingRun:
    """The run of a Trainer of one's own, in its default_root_dir; its budget is the steps that the Trainer plans.

    Raises:
        ConfigError: the module is no DiffusionModule, or nothing says how many steps or images a step there are.
    """
    if not isinstance(module, DiffusionModule):
        raise ConfigError(f"the callbacks of mezzotint watch a DiffusionModule, and this is a {type(module).__name__}")
    plan(module, trainer)
    planned = trainer.estimated_stepping_batches
    run = TrainingRun(
        Path(trainer.default_root_dir),
        module,
        dataset_of(trainer, module),
        module.seed,
        int(planned) * module.batch_size if math.isfinite(planned) else module.budget,
        module.batch_size,
        SamplingRecipe(DDIM(), Trailing(50)),
        rank=trainer.global_rank,
        world=trainer.world_size,
        step=trainer.global_step,
        loggers=[MediaLogger(logger, module.batch_size) for logger in trainer.loggers],
    )
    averages = (callback.average() for callback in callbacks)
    connect(run, trainer, lambda: held_out(trainer, module), next(filter(None, averages), None))
    return run


def connect(run: TrainingRun, trainer: pl.Trainer, validation: Callable[[], Any], average: Average | None) -> None:
    """Give the run what callbacks may do without knowing Lightning.

    Args:
        validation: gives this rank's share of the held-out batches.
        average: returns the averaged denoiser; None takes the weights as they are.
    """
    template = copy.deepcopy(run.module.denoiser).eval().requires_grad_(False)  # while it is whole

    def twin() -> Denoiser:
        copied = template.to(run.module.device)
        for ours, live in zip(copied.buffers(), run.module.denoiser.buffers(), strict=True):
            ours.copy_(full_tensor(live.detach()))
        return copied

    run.sharded, run.template = run.module.sharded, template
    run.copy = twin
    run.average = average or (lambda: plain(run))
    run.save = trainer.save_checkpoint
    run.forward = trainer.precision_plugin.forward_context
    run.validation = validation


def plain(run: TrainingRun) -> Denoiser:
    """A copy of the denoiser with the weights as they are."""
    copied = run.copy()
    for ours, live in zip(copied.parameters(), run.module.denoiser.parameters(), strict=True):
        ours.copy_(full_tensor(live.detach()))
    return copied


@dataclass
class SeenImages:
    """The shape and the classes of a data module's images, as far as batches and the network show them."""

    module: DiffusionModule
    flip: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return self.module.shape

    @property
    def classes(self) -> int:
        """Those of the network; 0 where it has no such attribute."""
        return int(getattr(self.module.denoiser.network, "classes", 0) or 0)

    def split(self, name: str) -> ImageSource:
        raise ConfigError(f"nobody but its data module knows the {name} images: give reference=")


def dataset_of(trainer: Any, module: DiffusionModule) -> Any:
    data = trainer.datamodule
    return data.dataset if isinstance(data, DataModule) else SeenImages(module)


def held_out(trainer: Any, module: DiffusionModule) -> Iterator[Batch]:
    """This rank's batches of the Trainer's validation data, numbered where they have no index."""
    loaders = trainer.val_dataloaders
    if loaders is None and trainer.datamodule is not None:
        loaders = trainer.datamodule.val_dataloader()
    counted = 0
    for batch in loaders if loaders is not None else ():
        numbered = batches.numbered(module, batch, counted)
        counted += len(numbered["image"])
        yield numbered
