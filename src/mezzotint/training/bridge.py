"""Between Lightning's loop and our callbacks."""

from typing import Any

import lightning.pytorch as pl

from mezzotint.runs import checkpoints
from mezzotint.training.agreement import check_ranks_agree
from mezzotint.training.callbacks.base import Callback, TrainingRun
from mezzotint.training.module import DiffusionModule


class CallbackAdapter(pl.Callback):
    """The one Lightning callback: tells ours of each optimiser step, so that six of them cost a step what one would."""

    def __init__(self, run: TrainingRun, callbacks: list[Callback]) -> None:
        self.run, self.callbacks = run, callbacks

    def on_load_checkpoint(self, trainer: pl.Trainer, module: Any, checkpoint: dict[str, Any]) -> None:
        for callback in self.callbacks:
            callback.load(self.run, checkpoint)
        rewind(checkpoint, self.run.step * trainer.accumulate_grad_batches)

    def on_save_checkpoint(self, trainer: pl.Trainer, module: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint["images"], checkpoint["format_version"] = self.run.images, checkpoints.FORMAT
        for callback in self.callbacks:
            callback.save(self.run, checkpoint)

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        self.run.step = trainer.global_step
        check_ranks_agree(self.run)
        for callback in self.callbacks:
            callback.start(self.run)
        self.run.begun = True

    def on_train_batch_end(self, trainer: pl.Trainer, module: DiffusionModule, *_: Any) -> None:
        run = self.run
        if trainer.global_step == run.step:  # a micro-batch that was only added up
            return
        run.step = trainer.global_step
        if trainer.should_stop and not run.stopped:
            run.stopped = "a callback"  # of Lightning's, such as its Timer: before ours, so that the step is saved
        for callback in self.callbacks:
            callback.step(run)
        if run.finished:
            for callback in self.callbacks:
                callback.finish(run)
        elif run.stopped:
            trainer.should_stop = True


def rewind(checkpoint: dict[str, Any], batches: int) -> None:
    """Set Lightning's count of micro-batches to what this process would have counted.

    Another number of micro-batches a step than before would otherwise end the next step in the middle of one.
    """
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    for scope in ("total", "current"):
        progress[scope] |= {"ready": batches, "started": batches, "processed": batches, "completed": batches - 1}
