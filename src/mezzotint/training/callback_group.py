"""Several callbacks as one Lightning callback, and the way from what they find to Lightning's own."""

import time
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import lightning.pytorch as pl
import torch

from mezzotint.runs import checkpoints
from mezzotint.runs.early_stop import EarlyStop
from mezzotint.training.agreement import check_ranks_agree
from mezzotint.training.own_trainer import run_of
from mezzotint.training.training_run import RunHooks, TrainingRun

EACH_LINE = {"loss", "grad_norm", "lr"}  # logged all the time; anything else is the result of a validation


class CallbackGroup(pl.Callback):
    """Calls callbacks in their order, once per optimizer step: a dozen of them cost a step what one would.

    As a callback of a Trainer, which it is in `fit`, it also keeps their states: by their keys beside the weights, as
    checkpoint format 1 has them.
    """

    def __init__(self, run: TrainingRun, callbacks: Iterable[RunHooks], own: bool = False) -> None:
        self.run, self.closed = run, False
        self.reporter = Reporter(own)
        self.callbacks = sorted([*callbacks, self.reporter], key=lambda callback: callback.order)

    @classmethod
    def of(cls, trainer: pl.Trainer, module: pl.LightningModule, callbacks: Iterable[RunHooks]) -> "CallbackGroup":
        """The group of the callbacks of a Trainer of one's own."""
        return cls(run_of(trainer, module, callbacks), callbacks, own=True)

    def on_load_checkpoint(self, trainer: pl.Trainer, module: Any, checkpoint: dict[str, Any]) -> None:
        for callback in self.callbacks:
            kept = checkpoint.get("callbacks", {}).get(callback.state_key)
            if state := checkpoint.get(callback.key) if callback.key else kept:
                callback.load_state_dict(state)
        rewind(checkpoint, self.run.step * trainer.accumulate_grad_batches)

    def on_save_checkpoint(self, trainer: pl.Trainer, module: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint["images"], checkpoint["format_version"] = self.run.images, checkpoints.FORMAT
        self.check()
        for callback in self.callbacks:
            state = callback.state_dict()
            if callback.key:
                checkpoint[callback.key] = state or None
            elif state:
                checkpoint["callbacks"][callback.state_key] = state

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.run.step = trainer.global_step
        self.reporter.trainer = trainer
        check_ranks_agree(self.run)
        for callback in self.callbacks:
            callback.start(self.run)
        self.run.begun, self.run.clock.began = True, time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        run = self.run
        if trainer.global_step == run.step:  # a micro-batch that was only added up
            return
        run.step = trainer.global_step
        for callback in self.callbacks:
            callback.step(run)
        if run.finished:
            self.finish()
        elif run.stopped:
            trainer.should_stop = True

    def finish(self) -> None:
        for callback in self.callbacks:
            callback.finish(self.run)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Finish a run that neither its budget nor a signal ended: callbacks of Lightning did, or its Trainer."""
        run = self.run
        if run.begun and run.step and not run.finished and not run.stopped:
            run.early_stop = self.reporter.early_stop(run)
            self.finish()

    def check(self) -> None:
        for callback in self.callbacks:
            callback.check(self.run)

    def close(self, error: BaseException | None) -> None:
        """Close all callbacks in reverse order, also when closing one of them fails."""
        if self.closed:
            return
        self.closed = True
        with ExitStack() as closing:
            for callback in self.callbacks:
                closing.callback(callback.close, self.run, error)


class Reporter(RunHooks, pl.Callback):
    """Hands the numbers that callbacks found in a step to Lightning.

    They are in `trainer.callback_metrics`, by the names of metrics.jsonl, before checkpoints are written. In a Trainer
    of one's own they also go to its loggers. In a run, where Lightning itself validates nothing, its callbacks hear
    that a validation has ended, so that EarlyStopping and ModelCheckpoint look at the new numbers.
    """

    order = 50
    trainer: pl.Trainer

    def __init__(self, own: bool) -> None:
        self.own = own
        self.stoppers: list[pl.Callback] = []

    def step(self, run: TrainingRun) -> None:
        if run.reported and not run.finished:
            self.hand_over(run)

    def finish(self, run: TrainingRun) -> None:
        if run.reported:
            self.hand_over(run)

    def hand_over(self, run: TrainingRun) -> None:
        trainer, values = self.trainer, dict(run.reported)
        run.reported.clear()
        trainer.callback_metrics.update({name: torch.tensor(value) for name, value in values.items()})
        if self.own:
            for logger in trainer.loggers:
                logger.log_metrics(values, step=trainer.global_step - 1)  # as Lightning counts
        elif values.keys() - EACH_LINE:
            for callback in trainer.callbacks:
                before = trainer.should_stop
                callback.on_validation_end(trainer, trainer.lightning_module)
                if trainer.should_stop and not before:
                    self.stoppers.append(callback)

    def early_stop(self, run: TrainingRun) -> EarlyStop:
        """The end of the run before its budget, by those that set `should_stop`, or may have done so in a step."""
        ours = (RunHooks, CallbackGroup, pl.callbacks.Checkpoint)
        theirs = [callback for callback in self.trainer.callbacks if not isinstance(callback, ours)]
        by = self.stoppers or [callback for callback in theirs if acts_on_steps(callback)]
        names = tuple(type(callback).__name__ for callback in by) or ("Trainer",)
        reasons = (c.stopping_reason_message for c in by if isinstance(c, pl.callbacks.EarlyStopping))
        reason = next(filter(None, reasons), "").removesuffix("Signaling Trainer to stop.").strip(" .")
        return EarlyStop(names, run.images, run.budget, reason)


def acts_on_steps(callback: pl.Callback) -> bool:
    """True for a callback with a hook at the end of a batch or an epoch."""
    kind, base = type(callback), pl.Callback
    return (kind.on_train_batch_end, kind.on_train_epoch_end) != (base.on_train_batch_end, base.on_train_epoch_end)


def rewind(checkpoint: dict[str, Any], batches: int) -> None:
    """Set Lightning's count of micro-batches to what this process would have counted.

    Another number of micro-batches a step than before would otherwise end the next step in the middle of one.
    """
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    for scope in ("total", "current"):
        progress[scope] |= {"ready": batches, "started": batches, "processed": batches, "completed": batches - 1}
