"""Trackers as Lightning loggers, and Lightning's loggers as trackers of a run."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from mezzotint.training.tracking.hooks import RunInfo, TrackerHooks


class Tracker(TrackerHooks, Logger):
    """Base of the trackers: a Lightning logger that also records a run.

    `fit` calls the hooks of a run. In a Trainer of one's own Lightning calls `log_hyperparams`, `log_metrics` and
    `finalize`, which start, feed and finish the same tracker in `save_dir`.
    """

    folder: str | Path = "."
    started = False  # by Lightning

    @property
    def name(self) -> str | None:
        return ""

    @property
    def version(self) -> str | int | None:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.folder)

    def begin(self, config: Mapping[str, Any] | None = None) -> None:
        """Start in `save_dir`, unless that is done."""
        if not self.started:
            self.started = True
            self.start(RunInfo(Path(self.folder).resolve(), dict(config or {}), own=True), [])

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.begin(vars(params) if isinstance(params, Namespace) else params)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        self.begin()
        self.log(step or 0, {name: v.item() if isinstance(v, Tensor) else v for name, v in metrics.items()})

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if self.started:
            self.started = False
            self.finish(0 if status == "success" else 1)


class LightningLoggerAdapter(TrackerHooks):
    """A logger of Lightning's as a tracker of a run: config, numbers and, where it takes such, pictures."""

    def __init__(self, logger: Any) -> None:
        self.logger = logger

    def start(self, subject: RunInfo, lines: list[dict[str, Any]]) -> None:
        self.logger.log_hyperparams(subject.config)

    def log(self, images: int, values: dict[str, Any]) -> None:
        self.logger.log_metrics(values, step=images)

    def picture(self, images: int, name: str, file: Path) -> None:
        match self.logger:
            case WandbLogger() as logger:
                logger.log_image(name, [str(file)], step=images)
            case TensorBoardLogger() as logger if file.suffix == ".png":
                logger.experiment.add_image(name, pixels(file), images, dataformats="HWC")

    def finish(self, code: int) -> None:
        self.logger.finalize("failed" if code else "success")


class MediaLogger(TrackerHooks):
    """A logger of a Trainer of one's own, which logs numbers itself: pictures, histograms and tables are passed on.

    Args:
        batch_size: images a step; Lightning's loggers count steps from 0.
    """

    def __init__(self, logger: Any, batch_size: int) -> None:
        self.tracker, self.batch_size = as_tracker(logger), batch_size

    def step(self, images: int) -> int:
        return max(0, images // self.batch_size - 1)

    def picture(self, images: int, name: str, file: Path) -> None:
        self.tracker.picture(self.step(images), name, file)

    def histogram(self, images: int, name: str, counts: Sequence[int], low: float, high: float) -> None:
        self.tracker.histogram(self.step(images), name, counts, low, high)

    def table(self, images: int, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self.tracker.table(self.step(images), name, columns, rows)


def pixels(file: Path) -> Any:
    """Read the colours of a PNG: uint8 (height, width, 3)."""
    import numpy
    from PIL import Image

    with Image.open(file, formats=("PNG",)) as picture:
        return numpy.asarray(picture.convert("RGB"))


def as_tracker(logger: Any) -> TrackerHooks:
    """Return a tracker unchanged, and a logger of Lightning's behind an adapter."""
    return logger if isinstance(logger, TrackerHooks) else LightningLoggerAdapter(logger)
