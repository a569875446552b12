"""Trackers that mirror what a run writes, with the images seen as their x axis. None is needed to know what it did."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mezzotint.finite import Finite
from mezzotint.runs import RunDir

STATES = {0: "finished", 130: "preempted"}  # by exit code; every other is "failed"


@dataclass(frozen=True)
class RunInfo:
    """What a tracker is told of a run when it starts.

    Args:
        config: the whole of it, as plain data.
        images: seen before this start.
        name: of the run among others; by default that of its folder.
        group: that runs share which differ in the seed alone; by default the name.
        environment: what the run runs on: versions, machine, commit.
        past: all of it has happened, perhaps on another machine: nothing of this process belongs to it.
    """

    directory: Path
    config: dict[str, Any] = field(default_factory=dict)
    images: int = 0
    name: str = ""
    group: str = ""
    environment: dict[str, Any] = field(default_factory=dict)
    past: bool = False


class Tracker(metaclass=Finite):
    """Base of a tracker; rank 0 alone has one that is started."""

    def start(self, subject: RunInfo, lines: list[dict[str, Any]]) -> None:
        """`lines` are those of the log so far, for a tracker that is written anew."""

    def log(self, images: int, values: dict[str, Any]) -> None:
        """One line of the log, nested numbers named with slashes."""

    def picture(self, images: int, name: str, file: Path) -> None:
        """A picture that has been written: PNG, or a GIF that moves."""

    def histogram(self, images: int, name: str, counts: Sequence[int], low: float, high: float) -> None:
        """How often which values occur: `counts` in as many bins of equal width from `low` to `high`."""

    def table(self, images: int, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A table, whole."""

    def summarise(self, values: dict[str, float]) -> None:
        """Numbers of the run as a whole."""

    def evaluated(self, images: int, found: dict[str, dict[str, Any]]) -> None:
        """All evaluations of the run by name, oldest first, each with its values and the protocol that gave them.

        Of values of one name the first is the run's: it was found when the run was done, as its config says.
        """
        names = list(dict.fromkeys(name for one in found.values() for name in one["values"]))
        own: dict[str, float] = {}
        for one in found.values():
            own = {f"evaluation/{name}": value for name, value in one["values"].items()} | own
        rows = [
            [name, *(one["values"].get(value) for value in names), json.dumps(one["protocol"])]
            for name, one in found.items()
        ]
        self.summarise(own)
        self.table(images, "evaluations", ["evaluation", *names, "protocol"], rows)

    def keep(self) -> None:
        """The run is done, and its checkpoints are there for a tracker that keeps such."""

    def finish(self, code: int) -> None:
        """The end: 0 for success, 130 for an interruption."""


class CSV(Tracker):
    """metrics.csv beside metrics.jsonl: one row a line, one column a number."""

    def start(self, subject: RunInfo, lines: list[dict[str, Any]]) -> None:
        from mezzotint.training.flat import flat

        self.file = RunDir(subject.directory).metrics_table_file
        self.rows = [flat(line) for line in lines]
        self.columns: list[str] = []
        self.write()

    def log(self, images: int, values: dict[str, Any]) -> None:
        self.rows.append(values)
        if set(values) <= set(self.columns):
            with open(self.file, "a", newline="") as out:
                csv.DictWriter(out, self.columns).writerow(values)
        else:
            self.write()

    def write(self) -> None:
        """All rows, under all the columns that have come up."""
        self.columns = list(dict.fromkeys(name for row in self.rows for name in row))
        with open(self.file, "w", newline="") as out:
            writer = csv.DictWriter(out, self.columns)
            writer.writeheader()
            writer.writerows(self.rows)


class LightningLoggerAdapter(Tracker):
    """One of Lightning's own loggers among ours."""

    def __init__(self, logger: Any) -> None:
        self.logger = logger

    def start(self, subject: RunInfo, lines: list[dict[str, Any]]) -> None:
        self.logger.log_hyperparams(subject.config)

    def log(self, images: int, values: dict[str, Any]) -> None:
        self.logger.log_metrics(values, step=images)

    def finish(self, code: int) -> None:
        self.logger.finalize("failed" if code else "success")


class MediaLogger(Tracker):
    """A logger of a Trainer of one's own, which has the numbers already: pictures alone are passed on to it."""

    def __init__(self, logger: Any) -> None:
        self.logger = logger

    def picture(self, images: int, name: str, file: Path) -> None:
        from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger

        if isinstance(self.logger, WandbLogger):
            self.logger.log_image(name, [str(file)])
        elif isinstance(self.logger, TensorBoardLogger):
            self.logger.experiment.add_image(name, pixels(file), images, dataformats="HWC")


def pixels(file: Path) -> Any:
    """The colours of a PNG, uint8 (height, width, 3)."""
    import numpy
    from PIL import Image

    with Image.open(file, formats=("PNG",)) as picture:
        return numpy.asarray(picture.convert("RGB"))


def edges(bins: int, low: float, high: float) -> list[float]:
    """Where bins of equal width begin and end: one number more than there are bins."""
    return [low + (high - low) * i / bins for i in range(bins + 1)]


def as_tracker(logger: Any) -> Tracker:
    """A tracker of ours, or one of Lightning's as one of ours."""
    return logger if isinstance(logger, Tracker) else LightningLoggerAdapter(logger)
