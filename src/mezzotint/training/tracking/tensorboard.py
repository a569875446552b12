"""TensorBoard as a tracker."""

from collections.abc import Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger

from mezzotint.errors import ConfigError
from mezzotint.runs import RunDir
from mezzotint.training.tracking.hooks import RunInfo, edges
from mezzotint.training.tracking.tracker import Tracker, pixels


class TensorBoard(Tracker, TensorBoardLogger):
    """Lightning's TensorBoardLogger with its event files in tensorboard/ of the run.

    Events after the checkpoint from which a run resumes are purged. The config and the last values of a run are its
    line in the HPARAMS tab.

    Args:
        save_dir: folder that holds tensorboard/, in a Trainer of one's own; a run has its own.

    Raises:
        ConfigError: the package tensorboard is not installed.
    """

    def __init__(self, save_dir: str | Path = ".") -> None:
        if find_spec("tensorboard") is None:
            raise ConfigError("logger=tensorboard needs the package tensorboard: pip install 'mezzotint[tensorboard]'")
        self.config: dict[str, Any] = {}
        self.last: dict[str, float] = {}
        self.images, self.opened = 0, False
        self.settle(Path(save_dir))

    def settle(self, folder: Path, **more: Any) -> None:
        """Write to the folder tensorboard/ in this one from now on."""
        self.folder = folder
        TensorBoardLogger.__init__(self, folder, name="", version=RunDir(folder).tensorboard.name, **more)

    def start(self, subject: RunInfo, lines: list[dict[str, Any]]) -> None:
        if not subject.own:
            self.settle(subject.directory, purge_step=subject.images + 1)
        self.config, self.opened = subject.config, True

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return "tensorboard"

    def log(self, images: int, values: dict[str, Any]) -> None:
        TensorBoardLogger.log_metrics(self, values, images)
        self.experiment.flush()  # a run that is killed continues after this line
        self.last |= values
        self.images = images

    def summarise(self, values: dict[str, float]) -> None:
        self.log(self.images, values)

    def picture(self, images: int, name: str, file: Path) -> None:
        if file.suffix == ".gif":
            return  # TensorBoard takes videos as frames only
        self.experiment.add_image(name, pixels(file), images, dataformats="HWC")
        self.experiment.flush()

    def histogram(self, images: int, name: str, counts: Sequence[int], low: float, high: float) -> None:
        ends = edges(len(counts), low, high)
        middles = [(a + b) / 2 for a, b in pairwise(ends)]
        self.experiment.add_histogram_raw(
            name,
            min=low,
            max=high,
            num=sum(counts),
            sum=sum(count * middle for count, middle in zip(counts, middles, strict=True)),
            sum_squares=sum(count * middle**2 for count, middle in zip(counts, middles, strict=True)),
            bucket_limits=ends[1:],
            bucket_counts=list(counts),
            global_step=images,
        )

    def table(self, images: int, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        lines = [columns, ["---"] * len(columns), *rows]
        self.experiment.add_text(name, "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines), images)

    def finish(self, code: int) -> None:
        if not self.opened:
            return
        from torch.utils.tensorboard.summary import hparams

        for part in hparams(dict(leaves(self.config)), self.last):
            self.experiment.file_writer.add_summary(part)
        self.experiment.close()
        self.opened = False


def leaves(config: Any, prefix: str = "") -> Any:
    """Yield pairs of dotted key and value that the HPARAMS tab can hold: numbers, truth values and text."""
    for key, value in config.items():
        match value:
            case None:
                continue
            case dict():
                yield from leaves(value, f"{prefix}{key}.")
            case bool() | int() | float() | str():
                yield f"{prefix}{key}", value
            case _:
                yield f"{prefix}{key}", str(value)
