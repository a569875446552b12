"""Lightning's Trainer as `fit` has it: silent, and without what our callbacks do."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.io import CheckpointIO
from lightning.pytorch.profilers import PassThroughProfiler

from mezzotint.data.datamodule import DataModule
from mezzotint.runs import checkpoints
from mezzotint.training.callback_group import CallbackGroup
from mezzotint.training.callbacks.base import TrainingRun
from mezzotint.training.hardware.hardware import Hardware, ProcessInfo


def build_trainer(
    hardware: Hardware, place: ProcessInfo, run: TrainingRun, data: DataModule, callbacks: list[pl.Callback]
) -> pl.Trainer:
    """Lightning's Trainer with everything off that our callbacks do, or that promises to be exact forbid."""
    arguments = hardware.trainer_arguments(place)
    plugins = [*arguments.pop("plugins", []), AtomicCheckpointIO()]
    theirs = [callback for callback in callbacks if not isinstance(callback, CallbackGroup)]
    trainer = pl.Trainer(
        **arguments,
        plugins=plugins,
        callbacks=callbacks,
        profiler=NullProfiler(),
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
    # Lightning's handler of SIGTERM communicates inside the handler, which can hang, and each of its steps broadcasts
    # whether one came, which waits for the device. Preemption does both better.
    trainer._signal_connector.register_signal_handlers = lambda: None
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None
    # Lightning reads the signature of training_step anew at every step.
    trainer.fit_loop.epoch_loop._build_kwargs = lambda _, batch, number: {"batch": batch, "batch_idx": number}
    return trainer


class NullProfiler(PassThroughProfiler):
    """Lightning's profiler that does nothing, without a generator for each of the two dozen hooks of a step."""

    nothing = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[None]:
        return self.nothing


class AtomicCheckpointIO(CheckpointIO):
    """Lightning's checkpoints through our files: atomic, and without code in them."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        checkpoints.write(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return checkpoints.read(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


class RunLogger(Logger):
    """What Lightning's callbacks log in a run (learning rates, device statistics) becomes part of its log."""

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
