"""What would stop a run after hours, found before its first step: folders, room on the disk, averages not kept."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from mezzotint.app.config.job import Job
from mezzotint.app.terminal import display_path
from mezzotint.errors import ConfigError
from mezzotint.runs import RunDir
from mezzotint.training import Callback, Checkpoints
from mezzotint.training.hardware.memory import checkpoint_size, size


def obstacles(job: Job, parts: Any, directory: Path) -> list[str]:
    """All that is in the way of training in `directory`, one line each, with the cure."""
    return [
        *(folders(job, directory) or room(job, parts, directory)),
        *weights(job, parts.ema),
        *saving(parts.callbacks),
        *foreign(parts.callbacks),
    ]


def foreign(callbacks: dict[str, Any]) -> list[str]:
    """Lightning's callbacks, and whatever else is not ours, must find here what they look at."""
    if all(isinstance(callback, Callback) for callback in callbacks.values()):
        return []
    from mezzotint.training.fitting import sorted_out

    try:
        sorted_out(callbacks)
    except ConfigError as error:
        return [str(error)]
    return []


def folders(job: Job, directory: Path) -> list[str]:
    """The run's folder and the cache must be writable, which only writing shows."""
    places = (("paths.runs", directory), ("paths.cache", Path(job.paths["cache"])))
    refused = [(key, there, reason(there)) for key, there in ((key, existing(place)) for key, place in places)]
    return [f"{there} cannot be written ({why}); give another {key}=" for key, there, why in refused if why]


def existing(place: Path) -> Path:
    """The folder itself, or the lowest one above it that is there."""
    return next(folder for folder in (place, *place.parents) if folder.exists())


def reason(folder: Path) -> str | None:
    """Why nothing can be made in a folder; None where it can. Nothing is left behind."""
    if not folder.is_dir():
        return "it is a file"
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".mezzotint"):
            return None
    except OSError as error:
        return os.strerror(error.errno) if error.errno else str(error)


def room(job: Job, parts: Any, directory: Path) -> list[str]:
    """The disk must hold all the checkpoints that will lie there at once."""
    each, count = checkpoint_size(parts.denoiser.network, parts.ema), checkpoints(job, parts.callbacks)
    there = RunDir(directory).checkpoint_bytes()
    free = shutil.disk_usage(existing(directory)).free
    if each * count - there <= free:
        return []
    return [
        f"the disk of {display_path(existing(directory))} has {size(free)} free, and {count} checkpoints of "
        f"{size(each)} need {size(each * count)}. Make room, keep fewer by callbacks.checkpoints.keep=1, or give "
        "another paths.runs="
    ]


def checkpoints(job: Job, callbacks: dict[str, Any]) -> int:
    """How many lie on the disk at once: those that stay, the best, and one that is being written."""
    kept = 0
    for callback in callbacks.values():
        if isinstance(callback, Checkpoints):
            every = callback.every * job.budget if callback.every < 1 else callback.every
            kept = min(callback.keep, max(1, round(job.budget / every))) + (callback.best in callbacks)
    return kept + 1 if kept else 0


def weights(job: Job, ema: Any) -> list[str]:
    """What is sampled at the end must be kept until then."""
    known = ["raw", *(["ema"] if ema else []), *(ema.averages if ema else ())]
    asked = job.weights if isinstance(job.weights, str) else f"{job.weights:g}"
    return [] if asked in known else [f"weights={asked}: this run keeps {', '.join(known)}"]


def saving(callbacks: dict[str, Any]) -> list[str]:
    """What was trained must be kept: samples are drawn from a checkpoint, at the end too."""
    if any(isinstance(callback, Checkpoints) for callback in callbacks.values()):
        return []
    return ["callbacks: none of them saves, and nothing could be drawn or go on: keep callbacks.checkpoints"]
