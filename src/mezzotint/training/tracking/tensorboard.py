"""TensorBoard as a tracker."""

from collections.abc import Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

from mezzotint.errors import ConfigError
from mezzotint.runs import RunDir
from mezzotint.training.tracking.tracker import RunInfo, Tracker, edges, pixels


class TensorBoard(Tracker):
    """Event files in the run's folder tensorboard/; what came after the checkpoint of a resume is purged.

    The config and the last values of a run are its line in the HPARAMS tab.

    Raises:
        ConfigError: the package tensorboard is not there.
    """

    def __init__(self) -> None:
        if find_spec("tensorboard") is None:
            raise ConfigError("logger=tensorboard needs the package tensorboard: pip install 'mezzotint[tensorboard]'")
        self.writer: Any = None
        self.last: dict[str, float] = {}
        self.images = 0

    def start(self, subject: RunInfo, lines: list[dict[str, Any]]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(RunDir(subject.directory).tensorboard), purge_step=subject.images + 1)
        self.config = subject.config

    def log(self, images: int, values: dict[str, Any]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, images)
        self.writer.flush()  # a run that is killed goes on behind this line
        self.last |= values
        self.images = images

    def summarise(self, values: dict[str, float]) -> None:
        self.log(self.images, values)

    def picture(self, images: int, name: str, file: Path) -> None:
        if file.suffix == ".gif":
            return  # what shows them here needs a film's every frame
        self.writer.add_image(name, pixels(file), images, dataformats="HWC")
        self.writer.flush()

    def histogram(self, images: int, name: str, counts: Sequence[int], low: float, high: float) -> None:
        ends = edges(len(counts), low, high)
        middles = [(a + b) / 2 for a, b in pairwise(ends)]
        self.writer.add_histogram_raw(
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
        self.writer.add_text(name, "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines), images)

    def finish(self, code: int) -> None:
        if self.writer is None:
            return
        from torch.utils.tensorboard.summary import hparams

        for part in hparams(dict(leaves(self.config)), self.last):
            self.writer.file_writer.add_summary(part)
        self.writer.close()
        self.writer = None


def leaves(config: Any, prefix: str = "") -> Any:
    """Pairs of dotted key and value that the HPARAMS tab can hold: numbers, truth values and text."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value if isinstance(value, (bool, int, float, str)) else str(value)
