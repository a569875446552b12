"""Checkpoint files: plain Python and tensors, named by step, written as a whole or not at all."""

import io
import os
import sys
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from mezzotint import archives
from mezzotint.atomic import atomic_path, sync
from mezzotint.errors import ConfigError, TrainingError, is_disk_full
from mezzotint.plain_data import NUMBER, as_dict, mismatch
from mezzotint.reading import damaged, obstacle, reason
from mezzotint.runs import score
from mezzotint.runs.formats import SCORE
from mezzotint.runs.score import Score

FORMAT = 1
REMOVE = "remove it, and the one before it is used"
CONTENT = {
    "state_dict": {...: torch.Tensor},
    "images": int,
    "ema?": {...: {...: torch.Tensor}},
    "optimizer_states?": [dict],
    "log?": {"losses": torch.Tensor, "norms": torch.Tensor, "seconds": NUMBER},
    "best?": (dict, type(None)),
}


# ---------------------------------------------------------------------------------------------------------------- files


def named(folder: Path, step: int) -> Path:
    """Return the checkpoint file of a step."""
    return folder / f"step-{step:08d}.ckpt"


def step_of(file: Path) -> int:
    """Return the step of a checkpoint file."""
    return int(file.stem.removeprefix("step-"))


def every(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, oldest first, damaged ones included."""
    found = (file for file in folder.glob("step-*.ckpt") if file.stem.removeprefix("step-").isdecimal())
    return sorted(found, key=step_of)


def choose(folder: Path, step: int | str | None) -> Path | None:
    """Return the checkpoint of a step, the "best" one, or with None the newest intact one; None if it is not kept."""
    if step is None:
        return newest(folder)
    if step == "best":
        kept = best(folder)
        return named(folder, kept.step) if kept else None
    file = named(folder, int(step))
    return file if file.is_file() else None


def require(folder: Path, step: int | str | None) -> Path:
    """Return the checkpoint that `choose` finds. Raises ConfigError: the run has no such checkpoint."""
    if file := choose(folder, step):
        return file
    run = folder.parent
    if step is None:
        raise ConfigError(f"{run} has no checkpoint that can be read: mezzotint train run={run}")
    if step == "best":
        raise ConfigError(
            f"checkpoint=best: {run} keeps no best checkpoint; it is trained with callbacks=sample_metrics"
        )
    steps = ", ".join(str(step_of(file)) for file in every(folder)) or "none"
    raise ConfigError(f"checkpoint={step}: {run} keeps the steps {steps}; callbacks.checkpoints.keep= keeps more")


def newest(folder: Path, quiet: bool = False) -> Path | None:
    """Return the newest intact checkpoint. Damaged ones are passed over, and named on standard error unless quiet."""
    for file in reversed(every(folder)):
        problem = damage(file)
        if not problem:
            return file
        if not quiet:
            print(f"{file} is damaged ({problem}); using the one before.", file=sys.stderr, flush=True)
    return None


def best(folder: Path) -> Score | None:
    """Return score and step of the best checkpoint; None where none is recorded, or its file is missing."""
    found = score.read_best(folder)
    return found if found and named(folder, found.step).is_file() else None


def write_best(folder: Path, kept: Score | None) -> None:
    """Record the best checkpoint in best.json; remove the record where there is none or its file is missing."""
    score.write_best(folder, kept if kept and named(folder, kept.step).is_file() else None)


# -------------------------------------------------------------------------------------------------- writing and reading


def write(checkpoint: dict[str, Any], file: Path) -> None:
    """Write a checkpoint atomically; it is on the disk before it takes its name.

    Raises:
        TrainingError: the disk is full or the folder cannot be written; the file that was there before is intact.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as part, open(part, "wb") as out:
            torch.save(checkpoint, out)
            sync(out)
        sync_folder(file.parent)
    except (OSError, RuntimeError) as error:
        inner = isinstance(error.__context__, OSError) and not isinstance(error, OSError)
        cause = error.__context__ if inner else error  # torch turns an OSError into a RuntimeError
        first = "Make room" if is_disk_full(cause) else "See to that"
        raise TrainingError(
            f"{file} could not be written ({' '.join(str(cause).split())[:200]}). The checkpoints before it are whole. "
            f"{first}, then go on with `mezzotint train run={file.parent.parent}`."
        ) from error


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(file: Path, lazily: bool = False) -> dict[str, Any]:
    """Read a checkpoint on the CPU without running any code in it.

    Args:
        lazily: leave tensors on the disk until they are used.

    Raises:
        Damaged: it is not a checkpoint, or lies outside of its run. TrainingError: another version wrote it.
    """
    if why := obstacle(file, file.parent.parent) or (file.exists() and archives.damage(file)):
        raise damaged(file, why)
    try:
        checkpoint = unpickle(file, lazily)
    except FileNotFoundError:
        raise
    except Exception as error:  # torch's message advises unsafe loading, which an untrusted file must not get
        raise damaged(file, f"it is no checkpoint ({type(error).__name__})", REMOVE) from error
    if why := malformed(checkpoint):
        raise damaged(file, why, REMOVE)
    if checkpoint.get("format_version") != FORMAT:
        raise TrainingError(
            f"{file} has format {checkpoint.get('format_version')}, and this version of mezzotint reads {FORMAT}. "
            "Use the version that wrote it."
        )
    return checkpoint


def unpickle(file: Path, lazily: bool) -> Any:
    """Load plain data and tensors. A file whose name is not UTF-8 is read through memory: torch cannot open it."""
    try:
        str(file).encode()
    except UnicodeEncodeError:
        return torch.load(io.BytesIO(file.read_bytes()), map_location="cpu", weights_only=True)
    return torch.load(file, map_location="cpu", weights_only=True, mmap=lazily)


# ----------------------------------------------------------------------------------------------------------- validation


def damage(file: Path) -> str | None:
    """Return what is wrong with a checkpoint file, in its bytes or in its content; None if it is intact."""
    try:
        if why := obstacle(file, file.parent.parent):
            return why
        if why := archives.damage(file):
            return why
        return malformed(unpickle(file, lazily=True))
    except UnpicklingError:
        return "it holds code"
    except Exception as error:
        return reason(error)


def malformed(checkpoint: Any) -> str | None:
    """Return in what a value differs from a checkpoint of this format; None if it is one, or of another format."""
    if "format_version" not in as_dict(checkpoint):
        return "it holds something else than a checkpoint"
    if checkpoint["format_version"] != FORMAT:
        return None  # `read` has an error of its own for it
    return mismatch(checkpoint, CONTENT) or (mismatch(checkpoint["best"], SCORE) if checkpoint.get("best") else None)


def unlike(checkpoint: dict[str, Any], module: torch.nn.Module) -> str | None:
    """Return in what the tensors of a checkpoint differ from the network's in name or shape; None if they fit."""
    shapes = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    state = {name: tuple(value.shape) for name, value in checkpoint["state_dict"].items()}
    for name in {**shapes, **state}:
        if state.get(name) != shapes.get(name):
            return f"{name} is {state.get(name, 'not there')} in it and {shapes.get(name, 'unknown')} in the network"
    for average in checkpoint.get("ema", {}).values():
        for name, value in average.items():
            if name in shapes and tuple(value.shape) != shapes[name]:
                return f"the average of {name} is {tuple(value.shape)} in it and {shapes[name]} in the network"
    return None
