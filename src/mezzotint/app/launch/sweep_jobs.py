"""Records of the jobs of a sweep: index, arguments, directory and state.

Each job keeps one small file in a hidden folder of the sweep, whatever process or machine it runs on.
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from mezzotint.app.config.arguments import spoken, value
from mezzotint.app.launch.ranks import rank
from mezzotint.app.terminal import display_path, one_line
from mezzotint.atomic import write_text

NOT_BEGUN, RUNNING, DONE, FAILED, STOPPED = "not begun", "running", "done", "failed", "stopped"


@dataclass
class SweepJob:
    """One job of a sweep.

    Args:
        number: from 1 on.
        words: values of the swept keys.
        run: its directory; empty until that is known.
        error: what ended it, in one line.
    """

    number: int
    total: int | None
    words: dict[str, str]
    run: str = ""
    state: str = RUNNING
    error: str = ""

    def __str__(self) -> str:
        of = f" of {self.total}" if self.total else ""
        place = f" -> {display_path(self.run)}" if self.run else ""
        return " ".join([f"[{self.number}{of}]", *(f"{key}={said}" for key, said in self.words.items())]) + place


@dataclass
class Sweep:
    """The description of a sweep before its first job, passed to the processes of the jobs.

    Args:
        keys: the words in which jobs differ.
        expected: the values of each job; empty if a sweeper chooses them during the sweep.
        folder: of the record files; None outside a sweep.
    """

    keys: list[str] = field(default_factory=list)
    expected: list[dict[str, str]] = field(default_factory=list)
    total: int | None = None
    folder: Path | None = None

    def plan(self, config: Any) -> None:
        """Read from Hydra's config which keys are swept."""
        from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
        from hydra.core.global_hydra import GlobalHydra
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from omegaconf import OmegaConf

        node: Any = OmegaConf.to_container(config.hydra.sweeper, resolve=False)
        words: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
        said = [*(f"{key}={value}" for key, value in (node.get("params") or {}).items()), *words]
        found = OverridesParser.create(GlobalHydra.instance().config_loader()).parse_overrides(said)
        swept = [one for one in {one.key_or_group: one for one in found}.values() if one.is_sweep_override()]
        self.keys = [one.key_or_group for one in swept]
        self.total = node.get("n_trials")
        if str(node.get("_target_")).endswith(".BasicSweeper") and all(one.is_discrete_sweep() for one in swept):
            self.expected = [self.apart(job) for job in chain(*BasicSweeper.split_arguments(found, None))]
            self.total = len(self.expected)
        self.folder = Path(config.hydra.sweep.dir).absolute() / f".jobs-{os.urandom(4).hex()}"

    def apart(self, words: Sequence[str]) -> dict[str, str]:
        return {key: value(key, words) or "null" for key in self.keys}

    def named(self, number: int) -> SweepJob:
        """The record of a job that has not started."""
        return SweepJob(number, self.total, self.expected[number - 1] if number <= len(self.expected) else {})

    @contextmanager
    def job(self) -> Iterator[SweepJob | None]:
        """Return the job that Hydra started in this process; None outside a sweep and on ranks other than 0."""
        global _now
        if self.folder is None or rank():
            yield None
            return
        from hydra.core.hydra_config import HydraConfig

        job = SweepJob(HydraConfig.get().job.num + 1, self.total, self.apart(spoken()))
        _now = self, job
        try:
            self.write(job)
            yield job
            job.state = DONE
        except Exception as error:
            job.state, job.error = FAILED, one_line(str(error) or type(error).__name__)
            print(f"{job} failed", flush=True)
            raise
        except BaseException:
            job.state = STOPPED
            raise
        finally:
            self.write(job)
            _now = None

    def write(self, job: SweepJob) -> None:
        if self.folder is None:
            return
        with suppress(OSError):  # a disk that is full: the job has its own word for that
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text(self.folder / f"{job.number}.json", json.dumps(asdict(job)))

    def started_jobs(self) -> list[SweepJob]:
        """Return the jobs that have started, in order."""
        found = []
        for file in self.folder.glob("*.json") if self.folder else ():
            with suppress(OSError, ValueError):
                found.append(SweepJob(**json.loads(file.read_text())))
        return sorted(found, key=lambda job: job.number)

    def close(self) -> list[SweepJob]:
        """Return all jobs, including those that have not started, or none if none has; delete the record files."""
        started = {job.number: job for job in self.started_jobs()}
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
        numbers = sorted(started.keys() | set(range(1, len(self.expected) + 1))) if started else []
        self.folder = None
        return [started.get(number) or replace(self.named(number), state=NOT_BEGUN) for number in numbers]


_now: tuple[Sweep, SweepJob] | None = None  # of this process
current = Sweep()  # of this command


def begin() -> Sweep:
    """Return the sweep of a command, or None for a single job."""
    global current
    current = Sweep()
    return current


def place(directory: Path) -> str:
    """Format a run's directory, in a sweep with the arguments of the job."""
    if _now is None:
        return display_path(directory)
    sweep, job = _now
    job.run = str(Path(directory).absolute())
    sweep.write(job)
    return str(job)
