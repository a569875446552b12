"""The directory of a run: its config, state and records."""

import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from mezzotint.atomic import write_text
from mezzotint.errors import ConfigError, DataError
from mezzotint.reading import MOST_OF_LOG, Damaged, files, obstacle, opened, read_bytes, read_end, read_json
from mezzotint.reading import reason as reason_of
from mezzotint.runs import formats, locking
from mezzotint.runs.formats import Node
from mezzotint.runs.paths import FILES, FOLDERS, RunPaths, preview_step
from mezzotint.runs.score import Score, read_best

DAMAGED = "damaged"  # the state of a run whose config or status cannot be read


@dataclass(frozen=True)
class RunDir(RunPaths):
    """The directory of one run.

    Readers return checked plain data. They open only regular files inside the run; a file that leads out of it, is too
    large or has another shape raises `Damaged`.

    Args:
        path: the directory; it need not exist yet.
    """

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
            locking.hold(log, self.path)
            yield log

    @contextmanager
    def mark_running(self) -> Iterator[None]:
        """Hold a shared lock, if there can be one, so that other processes see that the run is being trained."""
        with open(self.log_file, "a") as log:
            locking.share(log)
            yield

    @property
    def locked(self) -> bool:
        """True if a process holds the run's lock; False where files cannot be locked."""
        try:
            with opened(self.log_file, self.path) as log:
                return locking.is_held(log)
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
            ConfigError: the run has no such checkpoint.
        """
        from mezzotint.runs.checkpoints import require

        return require(self.checkpoints, step)

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
