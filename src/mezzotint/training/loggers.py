"""Trackers that mirror metrics.jsonl, with the images seen as their x axis. Each is imported when a run starts."""

import csv
import os
from pathlib import Path
from typing import Any

from mezzotint.training.callback import Run


class Logger:
    """Base of a tracker; rank 0 alone has one that is started."""

    def start(self, run: Run, lines: list[dict[str, Any]]) -> None:
        """`lines` are those of the log so far, for a tracker that is written anew."""

    def log(self, images: int, values: dict[str, Any]) -> None:
        """One line of the log, nested numbers named with slashes."""

    def picture(self, images: int, name: str, file: Path) -> None:
        """A picture that has been written."""

    def finish(self, code: int) -> None:
        """The end: 0 for success."""


class CSV(Logger):
    """metrics.csv beside metrics.jsonl: one row a line, one column a number."""

    def start(self, run: Run, lines: list[dict[str, Any]]) -> None:
        from mezzotint.training.log import flat

        self.file = run.directory / "metrics.csv"
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


class TensorBoard(Logger):
    """Event files in the run's folder tensorboard/; what came after the checkpoint of a resume is purged."""

    def start(self, run: Run, lines: list[dict[str, Any]]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            from mezzotint.errors import ConfigError

            raise ConfigError("logger=tensorboard needs the package tensorboard: pip install tensorboard") from error
        self.writer = SummaryWriter(str(run.directory / "tensorboard"), purge_step=run.images + 1 if lines else None)

    def log(self, images: int, values: dict[str, Any]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, images)

    def picture(self, images: int, name: str, file: Path) -> None:
        import numpy
        from PIL import Image

        self.writer.add_image(name, numpy.asarray(Image.open(file)), images, dataformats="HWC")

    def finish(self, code: int) -> None:
        if hasattr(self, "writer"):
            self.writer.close()


class WandB(Logger):
    """Weights & Biases. Asks nothing, waits for nobody: online only with a key and a server that answers.

    A resumed run is a new one in the same group, which the run's name gives, so that nothing recorded is overwritten.

    Args:
        project: of the tracker.
        mode: online, offline or disabled; auto decides by key and network.
        entity, tags: as the tracker knows them.
    """

    def __init__(
        self, project: str = "mezzotint", mode: str = "auto", entity: str | None = None, tags: list[str] | None = None
    ) -> None:
        if mode not in ("auto", "online", "offline", "disabled"):
            raise ValueError(f"mode={mode!r} is not known. Choose auto, online, offline or disabled.")
        self.project, self.mode, self.entity, self.tags = project, mode, entity, tags
        self.session: Any = None

    def start(self, run: Run, lines: list[dict[str, Any]]) -> None:
        import wandb

        self.session = wandb.init(
            project=self.project,
            entity=self.entity,
            tags=self.tags,
            group=run.directory.name,
            name=run.directory.name if not lines else f"{run.directory.name}-from-{run.images}",
            dir=str(run.directory),
            mode=mode() if self.mode == "auto" else self.mode,  # type: ignore[arg-type]
            config=run.config | ({"resumed_from": run.images} if lines else {}),
            reinit="create_new",
            settings=wandb.Settings(silent=True),
        )
        self.session.define_metric("images")
        self.session.define_metric("*", step_metric="images")

    def log(self, images: int, values: dict[str, Any]) -> None:
        self.session.log(values | {"images": images})

    def picture(self, images: int, name: str, file: Path) -> None:
        import wandb

        self.session.log({name: wandb.Image(str(file)), "images": images})

    def finish(self, code: int) -> None:
        if self.session is not None:
            self.session.finish(exit_code=code)


def mode() -> str:
    """online only where a key is known and the server answers within two seconds; said once otherwise."""
    import netrc
    import sys
    from urllib.error import HTTPError, URLError
    from urllib.parse import urlparse
    from urllib.request import urlopen

    wanted = os.environ.get("WANDB_MODE")
    if wanted:
        return wanted
    server = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    key = os.environ.get("WANDB_API_KEY")
    if not key:
        try:
            key = netrc.netrc().authenticators(urlparse(server).hostname or "")
        except (OSError, netrc.NetrcParseError):
            key = None
    if key:
        try:
            urlopen(server, timeout=2).close()
            return "online"
        except HTTPError:  # it answers
            return "online"
        except (URLError, OSError):
            key = None
            print("wandb: the server does not answer; recording offline.", file=sys.stderr)
            return "offline"
    print("wandb: no key is known; recording offline (`wandb sync` sends it later).", file=sys.stderr)
    return "offline"


class Foreign(Logger):
    """One of Lightning's own loggers among ours."""

    def __init__(self, logger: Any) -> None:
        self.logger = logger

    def start(self, run: Run, lines: list[dict[str, Any]]) -> None:
        self.logger.log_hyperparams(run.config)

    def log(self, images: int, values: dict[str, Any]) -> None:
        self.logger.log_metrics(values, step=images)

    def finish(self, code: int) -> None:
        self.logger.finalize("failed" if code else "success")
