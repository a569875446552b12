"""Trackers of a job: one run each, from the first step to the final evaluation."""

import os
import platform
import shlex
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mezzotint.app.config.job import Config, digest
from mezzotint.app.results.git import commit
from mezzotint.errors import MezzotintError
from mezzotint.reading import changed
from mezzotint.runs import RunDir
from mezzotint.training.tracking.hooks import RunInfo, TrackerHooks

PACKAGES = ("mezzotint", "torch", "torchvision", "lightning", "hydra-core", "torchmetrics", "numpy", "wandb")


class TrackerGroup(TrackerHooks):
    """The trackers of a job as one. A tracker that fails is removed with a message, and the run continues.

    They stay open after training, for pictures and evaluations; `end` ends them.
    """

    def __init__(self, loggers: Mapping[str, Any], directory: Path, config: Config) -> None:
        from mezzotint.training.tracking.tracker import as_tracker  # imports lightning

        self.loggers = {name: as_tracker(logger) for name, logger in loggers.items()}
        self.directory, self.config = directory, config
        self.code, self.started = 0, False

    def start(self, subject: RunInfo, lines: list[dict[str, Any]]) -> None:
        self.started = True
        record = environment()
        RunDir(self.directory).write_environment(record)
        self.each("start", subject_of(self.directory, self.config, subject.images, environment=record), lines)

    def log(self, images: int, values: dict[str, Any]) -> None:
        self.each("log", images, values)

    def picture(self, images: int, name: str, file: Path) -> None:
        self.each("picture", images, name, file)

    def histogram(self, images: int, name: str, counts: Any, low: float, high: float) -> None:
        self.each("histogram", images, name, counts, low, high)

    def table(self, images: int, name: str, columns: Any, rows: Any) -> None:
        self.each("table", images, name, columns, rows)

    def summarise(self, values: dict[str, float]) -> None:
        self.each("summarise", values)

    def evaluated(self, images: int, found: dict[str, dict[str, Any]]) -> None:
        self.each("evaluated", images, found)

    def keep(self) -> None:
        self.each("keep")

    def conclude(self, objective: float | None) -> None:
        """Send the results after training; trackers that other processes started, or none, are started here."""
        if not self.loggers:
            return
        lines = RunDir(self.directory).metrics()
        if not self.started:
            self.start(RunInfo(self.directory, images=lines[-1]["images"] if lines else 0), lines)
        send_all(self, self.directory, lines)
        self.summarise({} if objective is None else {"objective": objective})

    def end(self, code: int) -> None:
        """End the trackers that were started."""
        if self.started:
            self.each("finish", code)

    def each(self, what: str, *arguments: Any) -> None:
        for name, logger in list(self.loggers.items()):
            try:
                getattr(logger, what)(*arguments)
            except MezzotintError:
                raise
            except Exception as error:  # of whatever library is behind it
                del self.loggers[name]
                said = " ".join(f"{type(error).__name__}: {error}".split())
                print(f"logger={name} is no longer used ({said}); metrics.jsonl is still written", file=sys.stderr)


@contextmanager
def tracked(directory: Path, config: Config, loggers: Mapping[str, Any]) -> Iterator[TrackerGroup]:
    """Open the trackers of a job and end them with its exit code."""
    trackers = TrackerGroup(loggers, directory, config)
    try:
        yield trackers
    except KeyboardInterrupt:
        trackers.end(130)
        raise
    except BaseException:
        trackers.end(1)
        raise
    trackers.end(trackers.code)


def subject_of(directory: Path, config: Config, images: int = 0, **more: Any) -> RunInfo:
    """Return the run as trackers name it: runs of one config share a name, and those of all its seeds a group."""
    name, place = str(config.get("name")), directory.resolve().name
    group = f"{name}-{digest(config | {'seed': None})}"
    return RunInfo(directory, config, images, place if place.startswith(name) else f"{name}-{place}", group, **more)


def environment() -> dict[str, Any]:
    """Return a description of this process, its machine and its packages."""
    import torch

    return {
        "command": " ".join([sys.argv[0], *map(shlex.quote, sys.argv[1:])]),
        "folder": os.getcwd(),
        "host": socket.gethostname(),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "commit": commit(),
        "versions": {"python": platform.python_version()} | {name: installed(name) for name in PACKAGES},
    }


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


# ------------------------------------------------------------------------------------------------- the end of a job


def send_all(
    tracker: TrackerHooks, directory: Path, lines: list[dict[str, Any]], known: Sequence[str] = ()
) -> list[str]:
    """Send a run's pictures, losses by noise level, evaluations and checkpoints; return the names of new ones.

    Args:
        known: names of files that the tracker has.
    """
    images = lines[-1]["images"] if lines else 0
    new = [file for file in RunDir(directory).pictures() if file.name not in known]
    for file in new:
        kind = "gif" if file.suffix == ".gif" else "film" if file.stem.endswith("-film") else "drawn"
        tracker.picture(images, f"{kind}/{file.stem.removesuffix('-film')}", file)
    found = evaluations(directory)
    if set(found) - set(known):
        tracker.evaluated(images, found)
    shares = last_shares(lines)
    if shares:
        rows = [[(i + 0.5) / len(shares), value] for i, value in enumerate(shares)]
        tracker.table(images, "loss_by_noise_level", ["share of the times, clean to noise", "loss"], rows)
    tracker.keep()
    return [*(file.name for file in new), *(name for name in found if name not in known)]


def evaluations(directory: Path) -> dict[str, dict[str, Any]]:
    """Return the run's evaluations by name, oldest first."""
    found = RunDir(directory).evaluations()
    return {file.stem: found[file] for file in sorted(found, key=changed)}


def last_shares(lines: list[dict[str, Any]]) -> list[float]:
    """Return the last validation losses by equal shares of the times, lowest noise first."""
    looks = [line["validation"] for line in lines if "share_0" in line.get("validation", {})]
    return [value for name, value in looks[-1].items() if name.startswith("share_")] if looks else []
