"""Checkpoints: plain Python and tensors, written whole or not at all, named by step."""

import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import torch

from mezzotint.errors import TrainingError
from mezzotint.training.callback import Callback, Run

FORMAT = 1


class Checkpoints(Callback):
    """Saves every so many images and at the end, after everything else of the step has been done.

    Args:
        every: images between two checkpoints, or below 1 the share of the budget.
        keep: how many of the newest stay.
        best: also keeps the one with the lowest validation loss, as best.ckpt.
    """

    order = 100

    def __init__(self, every: float = 0.1, keep: int = 3, best: bool = False) -> None:
        if every <= 0 or keep < 1:
            raise ValueError(f"every={every}, keep={keep}: both must be above 0")
        self.every, self.keep, self.best = every, keep, best
        self.lowest = float("inf")

    def start(self, run: Run) -> None:
        if run.rank == 0:  # what was being written when the run died
            for part in (run.directory / "checkpoints").glob(".*.part"):
                part.unlink()

    def step(self, run: Run) -> None:
        if (run.due(self.every) or run.stopped) and not run.finished:
            self.write(run)

    def finish(self, run: Run) -> None:
        self.write(run)

    def write(self, run: Run) -> None:
        folder = run.directory / "checkpoints"
        file = folder / f"step-{run.step:08d}.ckpt"
        loss = run.values.get("validation", {}).get("loss", float("inf"))
        better = self.best and loss < self.lowest
        self.lowest = min(loss, self.lowest)
        run.save(file)
        if run.rank == 0:
            if better:
                replace_link(file, folder / "best.ckpt")
            for old in sorted(folder.glob("step-*.ckpt"))[: -self.keep]:
                old.unlink()

    def save(self, run: Run, checkpoint: dict[str, Any]) -> None:
        checkpoint["lowest"] = self.lowest

    def load(self, run: Run, checkpoint: dict[str, Any]) -> None:
        self.lowest = checkpoint.get("lowest", self.lowest)


def replace_link(file: Path, link: Path) -> None:
    """A second name for a file, put in place of whatever had that name in one move."""
    part = link.with_name(f".{link.name}.part")
    part.unlink(missing_ok=True)
    os.link(file, part)
    os.replace(part, link)


def write(checkpoint: dict[str, Any], file: Path) -> None:
    """Write to a name of its own in the same folder, force it to the disk, then move it into place.

    Raises:
        TrainingError: the disk is full or the folder cannot be written; what was there before is whole.
    """
    part = file.with_name(f".{file.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as out:
            torch.save(checkpoint, out)
            out.flush()
            os.fsync(out.fileno())
        os.replace(part, file)
        sync_folder(file.parent)
    except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError
        part.unlink(missing_ok=True)
        raise TrainingError(
            f"{file} could not be written ({' '.join(str(error).split())[:200]}). The checkpoints before it are whole. "
            f"Make room, then go on with `mezzotint train run={file.parent.parent}`."
        ) from error


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(file: Path) -> dict[str, Any]:
    """A checkpoint on the CPU; no code in it is run."""
    checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    if checkpoint.get("format_version") != FORMAT:
        raise TrainingError(
            f"{file} has format {checkpoint.get('format_version')}, and this version of mezzotint reads {FORMAT}. "
            "Use the version that wrote it."
        )
    return checkpoint


def step_of(file: Path) -> int:
    return int(file.stem.removeprefix("step-"))


def newest(folder: Path, quiet: bool = False) -> Path | None:
    """The newest checkpoint that is whole; damaged ones are passed over, and named on standard error unless quiet."""
    for file in sorted(folder.glob("step-*.ckpt"), reverse=True):
        problem = damage(file)
        if not problem:
            return file
        if not quiet:
            print(f"{file} is damaged ({problem}); using the one before.", file=sys.stderr, flush=True)
    return None


def damage(file: Path) -> str | None:
    """What is wrong with the file: checkpoints are zip archives, so every byte is under a checksum."""
    try:
        with zipfile.ZipFile(file) as archive:
            bad = archive.testzip()
    except (OSError, zipfile.BadZipFile) as error:
        return str(error)
    return f"checksum of {bad}" if bad else None
