"""Checks before the first step of a run: directories, disk space, averages of the weights, checkpoints."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mezzotint.app.assembly.parts import Components
from mezzotint.app.config.job import Job
from mezzotint.app.terminal import display_path
from mezzotint.errors import ConfigError
from mezzotint.plain_data import as_text
from mezzotint.runs import RunDir
from mezzotint.training.callbacks.base import own
from mezzotint.training.hardware.memory import checkpoint_size, size

if TYPE_CHECKING:
    import lightning.pytorch as pl

    from mezzotint.training import EMA


def obstacles(job: Job, parts: Components, directory: Path) -> list[str]:
    """Return the obstacles to training in `directory`, one line each, with what to do."""
    return [
        *(unwritable_folders(job, directory) or disk_space(job, parts, directory)),
        *missing_weights(job, parts.ema),
        *without_checkpoints(job, parts.callbacks),
        *invalid_callbacks(parts.callbacks),
    ]


def invalid_callbacks(callbacks: "Mapping[str, pl.Callback]") -> list[str]:
    """Return what is wrong with callbacks that are not ours, such as a quantity that no run logs."""
    if own(callbacks).keys() == callbacks.keys():
        return []
    from mezzotint.training.fitting import sorted_out

    try:
        sorted_out(callbacks)
    except ConfigError as error:
        return [str(error)]
    return []


def unwritable_folders(job: Job, directory: Path) -> list[str]:
    """Refuse a run directory or cache that cannot be written, which is tested by writing."""
    places = (("paths.runs", directory), ("paths.cache", Path(job.paths["cache"])))
    refused = [(key, there, reason(there)) for key, there in ((key, existing(place)) for key, place in places)]
    return [f"{there} cannot be written ({why}); give another {key}=" for key, there, why in refused if why]


def existing(place: Path) -> Path:
    """Return the folder, or the closest parent that exists."""
    return next(folder for folder in (place, *place.parents) if folder.exists())


def reason(folder: Path) -> str | None:
    """Return the reason why a folder cannot be written, or None if it can. Nothing is left in it."""
    if not folder.is_dir():
        return "it is a file"
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".mezzotint"):
            return None
    except OSError as error:
        return os.strerror(error.errno) if error.errno else str(error)


def disk_space(job: Job, parts: Components, directory: Path) -> list[str]:
    """Refuse a disk without space for all checkpoints that are kept at once."""
    each, count = checkpoint_size(parts.denoiser.network, parts.ema, parts.optimizer), checkpoints(job, parts.callbacks)
    there = RunDir(directory).checkpoint_bytes()
    free = shutil.disk_usage(existing(directory)).free
    if each * count - there <= free:
        return []
    return [
        f"the disk of {display_path(existing(directory))} has {size(free)} free, and {count} checkpoints of "
        f"{size(each)} need {size(each * count)}. Make room, keep fewer by callbacks.checkpoints.keep=1, or give "
        "another paths.runs="
    ]


def checkpoints(job: Job, callbacks: "Mapping[str, pl.Callback]") -> int:
    """Return the most checkpoints that are on the disk at once."""
    return sum(callback.checkpoints(job.budget, callbacks) for callback in own(callbacks).values())


def missing_weights(job: Job, ema: "EMA | None") -> list[str]:
    """Refuse weights= of an average that the run does not keep."""
    known = ["raw", *(["ema"] if ema else []), *(ema.averages if ema else ())]
    asked = as_text(job.weights) or f"{job.weights:g}"
    return [] if asked in known else [f"weights={asked}: this run keeps {', '.join(known)}"]


def without_checkpoints(job: Job, callbacks: "Mapping[str, pl.Callback]") -> list[str]:
    """Refuse callbacks that save no checkpoint, from which the final samples would be drawn."""
    if checkpoints(job, callbacks):
        return []
    return [
        "callbacks: none of them saves, so the run could be neither sampled nor resumed: keep callbacks.checkpoints"
    ]
