"""Training by Lightning, with its errors as ours."""

import signal
import threading
from collections.abc import Iterable
from pathlib import Path

import lightning.pytorch as pl

from mezzotint.data.datamodule import DataModule
from mezzotint.errors import ConfigError, MezzotintError, TrainingError, is_disk_full
from mezzotint.reading import damaged, reason
from mezzotint.runs import checkpoints
from mezzotint.runs.early_stop import EarlyStop
from mezzotint.training.callback_group import CallbackGroup
from mezzotint.training.module import DiffusionModule


def class_names(callbacks: Iterable[pl.Callback]) -> list[str]:
    return [type(callback).__name__ for callback in callbacks]


def train(
    trainer: pl.Trainer,
    module: DiffusionModule,
    data: DataModule,
    saved: Path | None,
    group: CallbackGroup,
) -> None:
    """Train by Lightning, translate its errors into ours, and close every callback in any case."""
    run = group.run
    failure: BaseException | None = None
    heeds = signal.getsignal(signal.SIGINT)
    try:
        data.setup()
        trainer.fit(module, data.train_dataloader(), ckpt_path=saved, weights_only=True)
        if not run.begun:
            stopped_at_once(group, trainer)
    except SystemExit as error:  # what Lightning makes of a Ctrl-C that could not wait; it ignores all that follow
        failure = KeyboardInterrupt()
        if heeds is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, heeds)
        raise failure from error
    except OSError as error:
        failure = error
        if is_disk_full(error):
            raise TrainingError(
                f"{error.strerror or error} in {run.directory}. The checkpoints there are whole. Make room, then go on "
                f"with `mezzotint train run={run.directory}`."
            ) from error
        raise
    except MezzotintError as error:
        failure = error
        raise
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, AssertionError) as error:
        failure = error
        if not saved or run.begun:
            raise
        why = f"training cannot go on from it ({type(error).__name__}: {reason(error)})"
        failure = damaged(saved, why, checkpoints.REMOVE)
        raise failure from error
    except BaseException as error:
        failure = error
        raise
    finally:
        group.close(failure)


def stopped_at_once(group: CallbackGroup, trainer: pl.Trainer) -> None:
    """Finish a run whose callbacks set `should_stop` before a step, as a Timer does that has no time left.

    Raises:
        ConfigError: nothing has been trained yet.
    """
    run, by = group.run, tuple(class_names(callback for callback in trainer.callbacks if callback is not group))
    if not run.step:
        raise ConfigError(f"callbacks: {' or '.join(by)} stops training before its first step, so there is no model")
    run.early_stop = EarlyStop(by, run.images, run.budget, "before the first step of this start")
