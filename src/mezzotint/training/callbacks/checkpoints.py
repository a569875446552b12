"""Checkpoints: plain Python and tensors, written whole or not at all, named by step."""

import io
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import torch

from mezzotint import archives
from mezzotint.atomic import atomic_path, remove_partials, sync, write_text
from mezzotint.errors import TrainingError, no_room
from mezzotint.reading import NUMBER, damaged, mismatch, obstacle, reason
from mezzotint.runs import formats
from mezzotint.runs.formats import SCORE
from mezzotint.training.callbacks.base import Callback, Score, TrainingRun

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


class Checkpoints(Callback):
    """Saves every so many images and at the end, after everything else of the step has been done.

    Beside the newest few stays the best one by a score, which is saved in the step that found it. best.json names it;
    each checkpoint knows the best until then, so that a run that was killed finds the same one.

    Args:
        every: images between two checkpoints, or below 1 the share of the budget.
        keep: how many of the newest stay.
        best: whose score decides: "sample_metrics", where that callback runs; "validation", the loss on held-out
            images; None keeps no best one.
    """

    order = 100

    def __init__(
        self, every: float = 0.1, keep: int = 3, best: Literal["sample_metrics", "validation"] | None = "sample_metrics"
    ) -> None:
        if every <= 0 or keep < 1:
            raise ValueError(f"every={every}, keep={keep}: both must be above 0")
        if best not in ("sample_metrics", "validation", None):
            raise ValueError(f"best={best!r}: choose 'sample_metrics', 'validation' or null")
        self.every, self.keep, self.best = every, keep, best
        self.record: Score | None = None
        self.loaded: Score | None = None

    def start(self, run: TrainingRun) -> None:
        self.record, self.loaded = self.loaded, None
        if run.rank == 0:
            folder = run.directory / "checkpoints"
            remove_partials(folder)  # of what was being written when the run died
            write_best(folder, self.record)

    def step(self, run: TrainingRun) -> None:
        if (run.due(self.every) or run.stopped or self.better(run)) and not run.finished:
            self.write(run)

    def finish(self, run: TrainingRun) -> None:
        self.write(run)

    def better(self, run: TrainingRun) -> Score | None:
        """The score of the step just done, if it beats all before."""
        score = run.scores.get(self.best or "")
        return score if score and score.step == run.step and score.beats(self.record) else None

    def write(self, run: TrainingRun) -> None:
        self.record = self.better(run) or self.record
        folder = run.directory / "checkpoints"
        run.save(named(folder, run.step))
        if run.rank == 0:
            write_best(folder, self.record)
            reached = [file for file in every(folder) if step_of(file) <= run.step]  # any other one is damaged
            for old in reached[: -self.keep]:
                if not (self.record and step_of(old) == self.record.step):
                    old.unlink()

    def save(self, run: TrainingRun, checkpoint: dict[str, Any]) -> None:
        checkpoint["best"] = asdict(self.record) if self.record else None

    def load(self, run: TrainingRun, checkpoint: dict[str, Any]) -> None:
        kept = checkpoint.get("best")
        self.loaded = Score(**kept) if kept else None


def write_best(folder: Path, score: Score | None) -> None:
    """Name the best checkpoint in best.json, or nobody where that one is not there."""
    file = folder / "best.json"
    if score is None or not named(folder, score.step).is_file():
        file.unlink(missing_ok=True)
        return
    write_text(file, json.dumps(asdict(score), indent=1))


def best(folder: Path) -> Score | None:
    """The score and the step of the best checkpoint that a run keeps."""
    found = formats.best(folder.parent)
    score = Score(**{key: found[key] for key in Score.__dataclass_fields__ if key in found}) if found else None
    return score if score and named(folder, score.step).is_file() else None


def write(checkpoint: dict[str, Any], file: Path) -> None:
    """Write it whole, on the disk before it takes its place.

    Raises:
        TrainingError: the disk is full or the folder cannot be written; what was there before is whole.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as part, open(part, "wb") as out:
            torch.save(checkpoint, out)
            sync(out)
        sync_folder(file.parent)
    except (OSError, RuntimeError) as error:
        inner = isinstance(error.__context__, OSError) and not isinstance(error, OSError)
        cause = error.__context__ if inner else error  # of which torch makes a RuntimeError
        first = "Make room" if no_room(cause) else "See to that"
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
    """A checkpoint on the CPU; no code in it is run.

    Args:
        lazily: leave tensors on the disk until they are used.

    Raises:
        Damaged: it holds something else, or leads out of its run. TrainingError: another version wrote it.
    """
    if why := obstacle(file, file.parent.parent) or (file.exists() and archives.damage(file)):
        raise damaged(file, why)
    try:
        checkpoint = load(file, lazily)
    except FileNotFoundError:
        raise
    except Exception as error:  # torch's advice about other ways to load it is not for files that nobody vouches for
        raise damaged(file, f"it is no checkpoint ({type(error).__name__})", REMOVE) from error
    if why := strange(checkpoint):
        raise damaged(file, why, REMOVE)
    if checkpoint.get("format_version") != FORMAT:
        raise TrainingError(
            f"{file} has format {checkpoint.get('format_version')}, and this version of mezzotint reads {FORMAT}. "
            "Use the version that wrote it."
        )
    return checkpoint


def strange(checkpoint: Any) -> str | None:
    """In what the content of a checkpoint of this format is none; None where it is one."""
    if not isinstance(checkpoint, dict) or "format_version" not in checkpoint:
        return "it holds something else than a checkpoint"
    if checkpoint["format_version"] != FORMAT:
        return None  # told of in its own words
    return mismatch(checkpoint, CONTENT) or (mismatch(checkpoint["best"], SCORE) if checkpoint.get("best") else None)


def unlike(checkpoint: dict[str, Any], module: torch.nn.Module) -> str | None:
    """In what the weights, averages or moments in a checkpoint are of another network; None where they fit."""
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


def load(file: Path, lazily: bool) -> Any:
    """What torch reads without running code; from memory where its name is not UTF-8, which torch's own is."""
    try:
        str(file).encode()
    except UnicodeEncodeError:
        return torch.load(io.BytesIO(file.read_bytes()), map_location="cpu", weights_only=True)
    return torch.load(file, map_location="cpu", weights_only=True, mmap=lazily)


def named(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}.ckpt"


def step_of(file: Path) -> int:
    return int(file.stem.removeprefix("step-"))


def every(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first, damaged ones too."""
    found = (file for file in folder.glob("step-*.ckpt") if file.stem.removeprefix("step-").isdecimal())
    return sorted(found, key=step_of)


def chosen(folder: Path, step: int | str | None) -> Path | None:
    """The checkpoint of a step, the "best" one, or with None the newest that is whole; None where it is not kept."""
    if step is None:
        return newest(folder)
    if step == "best":
        score = best(folder)
        return named(folder, score.step) if score else None
    file = named(folder, int(step))
    return file if file.is_file() else None


def newest(folder: Path, quiet: bool = False) -> Path | None:
    """The newest checkpoint that is whole; damaged ones are passed over, and named on standard error unless quiet."""
    for file in reversed(every(folder)):
        problem = damage(file)
        if not problem:
            return file
        if not quiet:
            print(f"{file} is damaged ({problem}); using the one before.", file=sys.stderr, flush=True)
    return None


def damage(file: Path) -> str | None:
    """What is wrong with the file: a byte of the archive, which is looked at first, or its content."""
    try:
        if why := obstacle(file, file.parent.parent):
            return why
        if why := archives.damage(file):
            return why
        return strange(load(file, lazily=True))
    except Exception as error:
        return "it holds code" if isinstance(error, UnpicklingError) else reason(error)
