"""Progress of jobs that submitit starts, locally or in SLURM's queue; their own output goes to files."""

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

from hydra.experimental.callback import Callback

from mezzotint.app.launch import sweep_jobs
from mezzotint.app.launch.ranks import rank
from mezzotint.app.launch.sweep_jobs import FAILED, RUNNING, Sweep, SweepJob
from mezzotint.app.terminal import display_path
from mezzotint.errors import ConfigError, TrainingError

PATIENCE = 0.5  # seconds between two looks
NOWHERE = "there is no {} here. Start it where SLURM is, or use hydra/launcher=submitit_local"

_open = ExitStack()


class JobStatusCallback(Callback):
    """Hydra callback that starts the progress report of a sweep."""

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        sweep_jobs.current.plan(config)
        if not rank() and "submitit" in str(config.hydra.launcher.get("_target_")):
            watch(sweep_jobs.current)


def watch(sweep: Sweep) -> None:
    """Print which jobs are submitted, run and have ended, until `close`."""
    import submitit

    found, end = submitit.AutoExecutor.map_array, Event()

    def submit(executor: Any, call: Any, *arguments: Sequence[Any]) -> list[Any]:
        arguments = tuple(map(list, arguments))
        with no_files_on_error(Path(str(executor.folder)).parent):
            submitted = found(executor, call, *arguments)
        for job, words, number in zip(submitted, arguments[0], arguments[2], strict=True):
            print(f"{SweepJob(number + 1, sweep.total, sweep.apart(words))} submitted, as {job.job_id}", flush=True)
        for job in submitted:  # all of them, before the first failure is reported
            job.wait()
        return submitted

    def report_states() -> None:
        said: dict[int, str] = {}
        while True:
            last = end.wait(PATIENCE)
            for job in sweep.started_jobs():
                if (line := state_line(job)) and said.get(job.number) != line:
                    said[job.number] = line
                    print(line, flush=True)
            if last:
                return

    thread = Thread(target=report_states, daemon=True)
    submitit.AutoExecutor.map_array = submit  # type: ignore[method-assign]
    thread.start()
    _open.callback(thread.join)
    _open.callback(end.set)
    _open.callback(setattr, submitit.AutoExecutor, "map_array", found)


@contextmanager
def no_files_on_error(folder: Path) -> Iterator[None]:
    """Raise ConfigError for a job that cannot be submitted, without leaving files in submitit's folder."""
    before = set(folder.iterdir()) if folder.is_dir() else set()
    try:
        yield
    except Exception as error:
        for path in (set(folder.iterdir()) if folder.is_dir() else set()) - before:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if folder.is_dir() and not before:
            folder.rmdir()
        match error:
            case FileNotFoundError(filename="sbatch"):
                raise ConfigError(f"hydra/launcher: {NOWHERE.format('sbatch')}") from error
            case _ if of_submitit(error):
                raise ConfigError(f"the jobs could not be submitted: {' '.join(str(error).split())}") from error
        raise


def lost(error: Exception) -> TrainingError | None:
    """Return a description of a job that ended without a result, such as a killed one; None for other errors."""
    if not of_submitit(error):
        return None
    found = re.search(r"Job (\S+).* with path (.+)_result\.pkl", str(error))
    if not found:
        return TrainingError(" ".join(str(error).split()))
    return TrainingError(f"job {found[1]} ended without a result, perhaps killed: see {display_path(found[2])}_log.err")


def of_submitit(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] == "submitit"


def state_line(job: SweepJob) -> str:
    """Print a job's state; nothing before its directory is known."""
    if job.state == RUNNING and not job.run:
        return ""
    return f"{job} {job.state}{f': {job.error}' if job.state == FAILED else ''}"


def close() -> None:
    """Stop after reporting the final states."""
    _open.close()
