"""The directory of a run to train: a new one, one that is resumed, or one that is finished."""

from pathlib import Path

from mezzotint.app.config.job import DATA_NOISE, FREE, Config, Job, differences, relocatable, same_codec
from mezzotint.app.config.resolve import refuse_drawing, refuse_editing
from mezzotint.app.results import run_folders
from mezzotint.app.terminal import display_path
from mezzotint.errors import ConfigError
from mezzotint.plain_data import lookup
from mezzotint.runs import RunDir
from mezzotint.runs.early_stop import EarlyStop

MAY_MOVE = ("codec.directory", "data.root", "data.skip")
MAY_CHANGE = [key for key in FREE if key not in ("name", "checkpoint")]  # when training goes on


def choose(job: Job, given: list[str], many: bool) -> Path:
    """Return the run's directory.

    Raises:
        ConfigError: the name is taken, or run= is given another config than may go on there, or a step.
    """
    refuse_editing(job)
    refuse_drawing(job, "training learns all classes", "training learns those of the data")
    if job.checkpoint is not None:
        raise ConfigError(
            f"checkpoint={job.checkpoint} is for sample and evaluate: training continues from the newest checkpoint"
        )
    if job.run:
        directory = Path(job.run).resolve()
        changed = differences(fixed(RunDir(directory).config()), fixed(job.as_dict()))
        if changed:
            raise ConfigError(
                f"{', '.join(changed)} cannot change in a run that is resumed; leave it out, or train a new run "
                f"without run=. {', '.join(sorted([*MAY_CHANGE, *MAY_MOVE]))} may change"
            )
        return directory
    directory = run_folders.place(job, named="name" in given, many=many)
    run_folders.refuse_other(directory, job.as_dict())
    return directory


def fixed(config: Config) -> Config:
    """Return the part of a config that a resumed run must keep; data may have been moved."""
    kept = {key: value for key, value in relocatable(config).items() if key not in MAY_CHANGE}
    return kept | {
        "codec": same_codec(kept.get("codec")),
        "data": {key: value for key, value in kept["data"].items() if key not in ("root", *DATA_NOISE)},
    }


def finished(directory: Path, job: Job) -> bool:
    status = RunDir(directory).status()
    if status.get("state") != "finished":
        return False
    return status.get("images", 0) >= job.budget or early_stop(directory, job) is not None


def early_stop(directory: Path, job: Job) -> EarlyStop | None:
    """Return the stop that ended the run before its budget, if it would end it again."""
    status, nodes = RunDir(directory).status(), job.callbacks.values()
    found = EarlyStop.of(status)
    names = [str(lookup(node, "_target_")).rpartition(".")[2] for node in nodes]
    return found if found and found.holds(status.get("images", 0), job.budget, names) else None


def fewer(directory: Path, job: Job) -> str:
    """Return why nothing is done, if a callback stopped the run or another budget was spent."""
    if stop := early_stop(directory, job):
        return (
            f": {stop}; `mezzotint train run={display_path(directory)} budget=` with more than {stop.budget} trains on"
        )
    seen, budget = RunDir(directory).status()["images"], job.budget
    more = seen - job.batch_size >= budget
    return f": it has seen {seen:,} images, more than budget={budget}" if more else ""
