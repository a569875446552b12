"""Lightning's Trainer as `fit` has it: silent, and without what our callbacks do."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.io import CheckpointIO
from lightning.pytorch.profilers import Profiler

from mezzotint.data.datamodule import DataModule
from mezzotint.runs import checkpoints
from mezzotint.training.callback_group import CallbackGroup
from mezzotint.training.hardware.hardware import Hardware, ProcessInfo
from mezzotint.training.hardware.profilers import named_profiler
from mezzotint.training.lightning_patches import leave_signals_to_preemption
from mezzotint.training.training_run import TrainingRun


def build_trainer(
    hardware: Hardware,
    place: ProcessInfo,
    run: TrainingRun,
    data: DataModule,
    group: CallbackGroup,
    theirs: list[pl.Callback],
    profiler: Profiler | None = None,
) -> pl.Trainer:
    """Build Lightning's Trainer without what our callbacks do, and without what would make a run inexact.

    Args:
        group: calls our callbacks.
        theirs: callbacks of Lightning's.
    """
    arguments = hardware.trainer_arguments(place)
    plugins = [*arguments.pop("plugins", []), AtomicCheckpointIO()]
    trainer = pl.Trainer(
        **arguments,
        plugins=plugins,
        callbacks=[*theirs, group],
        profiler=profiler or named_profiler(hardware.profiler, run.directory),
        max_steps=run.steps,
        accumulate_grad_batches=data.accumulation,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        val_check_interval=run.steps,  # so that EarlyStopping and ModelCheckpoint look when a validation ends
        check_val_every_n_epoch=None,
        logger=RunLogger(run) if theirs else False,
        enable_checkpointing=any(isinstance(callback, pl.callbacks.Checkpoint) for callback in theirs),
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,  # the data module knows its rank
        inference_mode=False,  # guidance may need gradients
        default_root_dir=run.directory,
    )
    leave_signals_to_preemption(trainer)
    return trainer


class AtomicCheckpointIO(CheckpointIO):
    """Lightning's checkpoints through our files: atomic, and without code in them."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        checkpoints.write(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return checkpoints.read(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


class RunLogger(Logger):
    """Lightning logger that adds what its callbacks log (learning rates, device statistics) to a run's log."""

    name, version = "lightning", ""

    def __init__(self, run: TrainingRun) -> None:
        self.run = run

    @property
    def save_dir(self) -> str:
        return str(self.run.directory)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.run.pending.update(metrics)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """The run has its config."""


CHATTER = (
    ".*does not have many workers.*",
    ".*GPU available but not used.*",
    ".*`srun` command is available on your system but is not used.*",
    ".*returned a view tensor.*",  # nothing here writes into what a network returns
    ".*You defined a `validation_step` but have no `val_dataloader`.*",  # Validation looks at the average
    ".*callbacks used to create the checkpoint need to be provided.*",  # a run's may change
    ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
)


@contextmanager
def quiet() -> Iterator[None]:
    """Lightning's tips and notices are not shown; its warnings are, but for those that our set-up makes void."""
    names = (
        "lightning.pytorch",
        "lightning.fabric",
        "lightning.pytorch.utilities.rank_zero",
        "lightning.fabric.utilities.rank_zero",
    )
    levels = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings():
        for pattern in CHATTER:
            warnings.filterwarnings("ignore", pattern)
        for name in names:
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
