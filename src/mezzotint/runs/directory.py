"""The directory of a run: its files by name, its lock, its state."""

import fcntl
import json
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from mezzotint.atomic import write_text
from mezzotint.errors import ConfigError, DataError, MezzotintError
from mezzotint.reading import MOST_OF_LOG, Damaged, changed, files, obstacle, opened, read_bytes, read_end, read_json
from mezzotint.reading import reason as reason_of
from mezzotint.runs import formats
from mezzotint.runs.formats import Node
from mezzotint.runs.score import Score, read_best

LATEST = "latest"  # the link to the newest run, beside the runs
DAMAGED = "damaged"  # the state of a run whose config or status cannot be read
FOLDERS = ("checkpoints", "ema", "export", "samples", "evaluation", "wandb", "tensorboard", "sweep")
FILES = ("config.yaml", "status.json", "train.log", "metrics.jsonl", "histograms.jsonl", "environment.json")
FILES += ("data.json",)
BEFORE_CONFIG = ("train.log", "status.json", "environment.json", "data.json")  # of a run killed while it started
PREVIEW = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class RunDir:
    """The directory of one run. It alone knows the names of the files in it.

    Readers return checked plain data. They open only regular files inside the run; a file that leads out of it, is too
    large or has another shape raises `Damaged`.

    Args:
        path: the directory; it need not exist yet.
    """

    path: Path

    # ------------------------------------------------------------------------------------------------------------ paths

    @property
    def config_file(self) -> Path:
        return self.path / "config.yaml"

    @property
    def status_file(self) -> Path:
        return self.path / "status.json"

    @property
    def log_file(self) -> Path:
        """The text log of training, which is also the file that is locked."""
        return self.path / "train.log"

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def metrics_table_file(self) -> Path:
        """The CSV logger's copy of the metrics."""
        return self.path / "metrics.csv"

    @property
    def histograms_file(self) -> Path:
        return self.path / "histograms.jsonl"

    @property
    def environment_file(self) -> Path:
        return self.path / "environment.json"

    @property
    def data_file(self) -> Path:
        return self.path / "data.json"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def snapshots(self) -> Path:
        """The folder of averaged weights in half precision, of which ema=power makes other averages."""
        return self.path / "ema"

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    @property
    def evaluation(self) -> Path:
        return self.path / "evaluation"

    @property
    def sweep(self) -> Path:
        """The folder of Hydra's own files of sweeps that start from this run."""
        return self.path / "sweep"

    @property
    def profile(self) -> Path:
        """The folder of the profiler's reports."""
        return self.path / "profile"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def wandb(self) -> Path:
        return self.path / "wandb"

    @property
    def upload_state_file(self) -> Path:
        """The record of what has reached Weights & Biases."""
        return self.wandb / "mezzotint.json"

    # ----------------------------------------------------------------------------------------------------------- config

    def exists(self) -> bool:
        """Return whether the directory holds a run, which is whether it has a config."""
        return self.config_file.is_file()

    def config(self) -> Node:
        """Return the run's config.

        Raises:
            ConfigError: there is none, or it cannot be used.
        """
        try:
            if (self.path.exists() or self.path.is_symlink()) and not self.path.is_dir():
                raise FileNotFoundError
            return formats.config(self.config_file, self.path)
        except FileNotFoundError:
            above = next((place for place in self.path.parents if RunDir(place).exists()), None)
            hint = f", but in {above} above it" if above and self.path.exists() else ""
            raise ConfigError(
                f"{self.path} is not a run: no {self.config_file.name} in it{hint}; `mezzotint runs` lists those that "
                "exist"
            ) from None
        except Damaged as error:
            raise ConfigError(str(error)) from error

    def write_config(self, config: Node, head: str = "") -> None:
        """Write the config, below a comment line if one is given."""
        import yaml

        write_text(self.config_file, head + yaml.safe_dump(config, sort_keys=False))

    def foreign_files(self) -> list[str]:
        """Return the names in the directory that no run writes before its config; hidden ones are ignored."""
        names = (file.name for file in self.path.iterdir()) if self.path.is_dir() else ()
        return sorted(name for name in names if not name.startswith(".") and name not in BEFORE_CONFIG)

    def check_links(self) -> None:
        """Refuse to write into a run that holds links out of it, or a folder in place of a file.

        Raises:
            DataError: with the name of the first such entry.
        """
        try:
            names = sorted(os.listdir(self.path))
        except FileNotFoundError:
            return
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {reason_of(error)}") from error
        for name in names:
            file = self.path / name
            why = obstacle(file, self.path)
            if not why and name in (*FOLDERS, *FILES):
                folder = stat.S_ISDIR(os.stat(file).st_mode)
                if folder != (name in FOLDERS):
                    why = "it is a folder, not a file" if folder else "it is a file, not a folder"
            if why:
                raise DataError(
                    f"{file}: {why}, so nothing is written into this run; remove it, or put the thing itself there"
                )

    # ----------------------------------------------------------------------------------------------- status and locking

    def status(self) -> Node:
        """Return the content of status.json; {} where it is missing or damaged."""
        try:
            return formats.status(self.status_file, self.path)
        except Damaged:
            return {}

    def status_error(self) -> str | None:
        """Return why status.json cannot be used; None where it can be, or is missing."""
        try:
            formats.status(self.status_file, self.path)
        except Damaged as error:
            return str(error)
        return None

    def write_status(self, **entries: Any) -> None:
        """Replace status.json by these entries and the time of now."""
        write_text(self.status_file, json.dumps(entries | {"time": time.time()}, indent=1))

    def update_status(self, **entries: Any) -> None:
        """Add entries to status.json, or replace them there."""
        self.write_status(**self.status() | entries)

    @property
    def state(self) -> str:
        """The state by status.json; "interrupted" where that says running and no process holds the run."""
        if self.status_error():
            return DAMAGED
        state = self.status().get("state", "unknown")
        return "interrupted" if state == "running" and not self.locked else state

    @contextmanager
    def lock(self) -> Iterator[TextIO]:
        """Hold the run against every other process, and yield its text log.

        The kernel's lock on train.log leaves no file behind, and ends with its process however that ends.

        Raises:
            ConfigError: another process holds the run, or the file system has no locks.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self.check_links()
        with open(self.log_file, "a", buffering=1, encoding="utf-8", errors="backslashreplace") as log:
            try:
                fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(f"{self.path}: another process is training this run") from None
            except OSError as error:
                raise ConfigError(
                    f"{self.path}: files cannot be locked there ({error.strerror}), so two processes could write one "
                    "run; give a paths.runs= on another file system, or have this one mounted with locks (flock)"
                ) from error
            yield log

    @contextmanager
    def mark_running(self) -> Iterator[None]:
        """Hold a shared lock, if there can be one, so that other processes see that the run is being trained."""
        with open(self.log_file, "a") as log:
            with suppress(OSError):
                fcntl.flock(log, fcntl.LOCK_SH | fcntl.LOCK_NB)
            yield

    @property
    def locked(self) -> bool:
        """True if a process holds the run's lock; False where files cannot be locked."""
        try:
            with opened(self.log_file, self.path) as log:
                return is_locked(log)
        except (FileNotFoundError, Damaged):
            return False

    def log_end(self, most: int) -> bytes:
        """Return the last bytes of the text log, at most so many; none where it is missing or damaged."""
        try:
            return read_end(self.log_file, self.path, most)
        except (FileNotFoundError, Damaged):
            return b""

    # ---------------------------------------------------------------------------------------------- metrics and records

    def metrics(self, tail: int | None = None) -> list[Node]:
        """Return the complete lines of metrics.jsonl, oldest first; none where it is missing.

        Args:
            tail: read only so many bytes at its end.

        Raises:
            Damaged: it cannot be read.
        """
        return self._lines(self.metrics_file, tail)

    def histograms(self) -> list[Node]:
        """Return the complete lines of histograms.jsonl; none where it is missing. Raises as `metrics` does."""
        return self._lines(self.histograms_file)

    def truncate(self, file: Path, step: int) -> list[Node]:
        """Cut a log of the run back to its complete lines up to a step, and return them."""
        kept = [line for line in self._lines(file) if line.get("step", step + 1) <= step]
        write_text(file, "".join(json.dumps(line) + "\n" for line in kept))
        return kept

    def _lines(self, file: Path, tail: int | None = None) -> list[Node]:
        try:
            content = read_bytes(file, self.path, MOST_OF_LOG) if tail is None else read_end(file, self.path, tail)
        except FileNotFoundError:
            return []
        return formats.lines(content.splitlines())

    def environment(self) -> Node:
        """Return the record of machine and versions; {} where there is none."""
        try:
            return read_json(self.environment_file, self.path, dict)
        except FileNotFoundError:
            return {}

    def write_environment(self, record: Node) -> None:
        write_text(self.environment_file, json.dumps(record, indent=1))

    def data(self) -> Node | None:
        """Return the record of the training data; None where there is none. Raises Damaged: it has another shape."""
        return formats.data(self.data_file, self.path)

    def write_data(self, record: Node) -> None:
        """Write the record of the training data once: resumed runs are compared with the first one."""
        if not self.data_file.exists():
            write_text(self.data_file, json.dumps(record, indent=1))

    def upload_state(self) -> Node | None:
        """Return what has reached Weights & Biases; None where the run does not say."""
        try:
            return read_json(self.upload_state_file, self.path, formats.TRACKED)
        except (FileNotFoundError, Damaged):
            return None

    def write_upload_state(self, record: Node) -> None:
        self.wandb.mkdir(exist_ok=True)
        write_text(self.upload_state_file, json.dumps(record, indent=1))

    # ----------------------------------------------------------------------------------------- checkpoints and samples

    def checkpoint(self, step: int | str | None = None) -> Path:
        """Return the checkpoint file of a step, the "best" one, or the newest intact one.

        Raises:
            ConfigError: the run keeps none such.
        """
        from mezzotint.runs.checkpoints import choose, every, step_of

        if file := choose(self.checkpoints, step):
            return file
        if step is None:
            raise ConfigError(f"{self.path} has no checkpoint that can be read: mezzotint train run={self.path}")
        if step == "best":
            raise ConfigError(
                f"checkpoint=best: {self.path} keeps no best checkpoint; it is trained with callbacks=sample_metrics"
            )
        steps = ", ".join(str(step_of(file)) for file in every(self.checkpoints)) or "none"
        raise ConfigError(
            f"checkpoint={step}: {self.path} keeps the steps {steps}; callbacks.checkpoints.keep= keeps more"
        )

    def newest_step(self) -> int:
        """Return the step of the newest intact checkpoint; 0 without one."""
        from mezzotint.runs.checkpoints import newest, step_of

        file = newest(self.checkpoints, quiet=True)
        return step_of(file) if file else 0

    def checkpoint_bytes(self) -> int:
        """Return the bytes of all checkpoints on the disk."""
        from mezzotint.runs.checkpoints import every

        return sum(file.stat().st_size for file in every(self.checkpoints))

    def best_score(self) -> Score | None:
        """Return the score of the best checkpoint; None where none is recorded. Imports no torch."""
        return read_best(self.checkpoints)

    def preview_file(self, step: int) -> Path:
        """Return where the grid that is drawn in training at a step lies."""
        return self.samples / f"step-{step:08d}.png"

    def previews(self) -> dict[Path, int]:
        """Return the grids that were drawn in training with their steps, oldest first."""
        found = files(self.path, f"{self.samples.name}/step-*.png")
        return {file: step for file in found if (step := preview_step(file)) is not None}

    def pictures(self) -> list[Path]:
        """Return the grids, film strips and animations that were drawn after training, by name."""
        found = files(self.path, *(f"{self.samples.name}/*{suffix}" for suffix in (".png", ".gif")))
        return [file for file in found if not file.name.startswith(".") and preview_step(file) is None]

    # ------------------------------------------------------------------------------------------------------ evaluations

    def evaluations(self) -> dict[Path, Node]:
        """Return the evaluations by file, in the order of their names; damaged ones are left out."""
        found = {}
        for file in files(self.path, f"{self.evaluation.name}/*.json"):
            with suppress(FileNotFoundError, Damaged):
                found[file] = formats.evaluation(file, self.path)
        return found

    @staticmethod
    def of_evaluation(file: Path) -> "RunDir | None":
        """Return the run that contains the file of an evaluation; None if no run does."""
        run = RunDir(file.absolute().parent.parent)
        return run if run.evaluation.name == file.absolute().parent.name else None

    def objective(self, status: Node) -> Node | None:
        """Return name and direction of the run's objective; None where it has no objective.

        Args:
            status: of the run. Where it does not name the objective, that is the evaluated or logged value equal to it.
        """
        value = status.get("objective")
        if value is None:
            return None
        if "measure" in status:
            return status["measure"]
        for evaluation in self.evaluations().values():
            if named := formats.value_named(evaluation, value):
                return named
        logged: list[Node] = []
        with suppress(Damaged):
            logged = self.metrics()
        if any(line.get("validation", {}).get("loss") == value for line in logged):
            return {"name": formats.VALIDATION_LOSS}
        return {"name": formats.TRAINING_LOSS if any(line.get("loss") == value for line in logged) else "objective"}

    # ------------------------------------------------------------------------------------------------- folders of runs

    def link_latest(self, root: Path) -> None:
        """Let `latest` in the folder of runs be a link to this run, without a moment in which it leads nowhere.

        Nothing is done where the file system has no links, or something that is not a link has that name.
        """
        link, latest = root / f".{LATEST}.{os.urandom(4).hex()}", root / LATEST
        if latest.exists() and not latest.is_symlink():
            return
        with suppress(OSError):
            link.symlink_to(os.path.relpath(self.path, root))
            os.replace(link, latest)

    @staticmethod
    def find(root: Path) -> "list[RunDir]":
        """Return the runs below a folder, newest last: runs/<name> and, of sweeps, runs/<name>/<digest>."""
        found = [run for above in subfolders(root) for place in (above, *subfolders(above)) for run in directly(place)]
        return sorted(found, key=lambda run: changed(run.config_file))

    @staticmethod
    def of_sweep(folder: Path) -> "list[RunDir]":
        """Return the runs that lie directly in a folder, by name."""
        return [run for place in subfolders(folder) for run in directly(place)]


def directly(place: Path) -> Sequence[RunDir]:
    """Return the run that a folder is, even one with a broken link for a config; nothing where it is none."""
    run = RunDir(place)
    return [run] if os.path.lexists(run.config_file) else []


def read_configs(directories: Iterable[Path]) -> tuple[dict[Path, Node], dict[Path, str]]:
    """Return the configs of runs, and the reasons why those of others cannot be used."""
    known, damaged = {}, {}
    for directory in directories:
        try:
            known[directory] = RunDir(directory).config()
        except MezzotintError as error:
            damaged[directory] = str(error)
    return known, damaged


def subfolders(place: Path) -> list[Path]:
    """Return the folders in a folder that are not links, by name; none where it cannot be listed."""
    try:
        with os.scandir(place) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []
    return [place / name for name in names]


def preview_step(file: Path) -> int | None:
    """Return the step at which a grid was drawn in training; None of every other picture."""
    found = PREVIEW.fullmatch(file.stem)
    return int(found[1]) if found else None


def is_locked(log: BinaryIO) -> bool:
    try:
        fcntl.flock(log, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
