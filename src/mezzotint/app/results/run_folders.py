"""The place of a run by its config, and which configs may go on in an existing one."""

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mezzotint.app.config.derived import as_before, bounded
from mezzotint.app.config.job import FREE, Config, Job, differences, digest, identity, relocatable, same_codec
from mezzotint.app.help import config_dir
from mezzotint.errors import ConfigError
from mezzotint.instantiate import renamed
from mezzotint.runs import RunDir

PROBE = 1 << 16  # bytes written to test for free space


def place(job: Job, named: bool, many: bool) -> Path:
    """Return the directory of a new run: runs/<name> if the user named it, else runs/<name>-<digest>.

    Args:
        many: a sweep, whose runs are runs/<name>/<digest>.
    """
    root, mark = Path(job.paths["runs"]), digest(job.as_dict())
    if many:
        return root / job.name / mark
    return root / (job.name if named else f"{job.name}-{mark}")


def settled(job: Job, named: bool, many: bool) -> Job:
    """Choose from each list of amounts for the job's budget, or as the version did that began the same run."""
    new, before = bounded(job), as_before(job)
    if job.run or new == before:
        return new
    there, older = place(new, named, many), place(before, named, many)
    if there != older and RunDir(there).exists():
        return new
    known = RunDir(older).exists() and identity(RunDir(older).config()) == identity(before.as_dict())
    return before if known else new


def refuse_other(directory: Path, config: Config) -> None:
    """Refuse a directory that holds a run of another config, or something other than a run. Raises ConfigError."""
    run = RunDir(directory)
    if run.exists():
        old, new = identity(run.config()), identity(config)
        if old != new:
            differ = ", ".join(differences(old, new))
            raise ConfigError(
                f"{directory} holds another run: it differs in {differ}. "
                f"Choose another name=, or resume that one with run={directory}"
            )
    elif (directory / "multirun.yaml").is_file():
        raise ConfigError(f"{directory} holds the runs of a sweep; choose another name=")
    elif directory.exists() and not directory.is_dir():
        raise ConfigError(f"{directory} is a file; choose another name=")
    elif strangers := run.foreign_files():
        raise ConfigError(
            f"{directory} is no run: it holds {strangers[0]} and no {run.config_file.name}; choose another name= or "
            "paths.runs="
        )


def writable(directory: Path) -> None:
    """Refuse a directory that cannot be written, before anything is created there. Raises ConfigError, OSError."""
    there = next(folder for folder in (directory, *directory.parents) if folder.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise ConfigError(f"{there} cannot be written; give another paths.runs=")
    try:
        with tempfile.TemporaryFile(dir=there) as probe:  # a full disk shows only in a write
            probe.write(bytes(PROBE))
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), str(there)) from error


def other_step(directory: Path, step: int | str | None) -> int | None:
    """Return the step of the checkpoint that `checkpoint=` names; None if that is the newest one.

    Raises:
        ConfigError: the run does not keep it.
    """
    if step is None:
        return None
    from mezzotint.runs.checkpoints import step_of

    number = step_of(RunDir(directory).checkpoint(step))
    return None if number == RunDir(directory).newest_step() else number


def existing(job: Job) -> Path:
    """Return the directory of run=, for commands that sample from a run.

    Raises:
        ConfigError: no run is given, or a setting differs that only training can change.
    """
    if not job.run:
        raise ConfigError("which run? Give run=DIR, such as run=runs/latest; `mezzotint runs` lists them")
    directory = Path(job.run)
    changed = differences(trained(RunDir(directory).config()), trained(job.as_dict()))
    if changed:
        raise ConfigError(f"{', '.join(changed)} cannot change after training: {directory} was trained without it")
    return directory


def trained(config: Config) -> Config:
    """Return the part of a config that the weights depend on. Of the data, only its shape and classes must stay."""
    kept = {key: value for key, value in relocatable(config).items() if key not in (*FREE, "seed", "data")}
    data = config.get("data") or {}
    return kept | {
        "codec": same_codec(kept.get("codec")),
        "data": {key: data.get(key) for key in ("shape", "classes")},
    }


def mark(config: Config, keys: Sequence[str]) -> str:
    """Return six hexadecimal digits that identify some keys of a config."""
    part = {key: value for key, value in relocatable(config).items() if key in keys}
    return hashlib.sha256(json.dumps(renamed.original(part), sort_keys=True).encode()).hexdigest()[:6]


def folder() -> Path:
    """Return the default folder of runs, which is the one of paths=default."""
    from omegaconf import OmegaConf

    return Path(OmegaConf.load(config_dir() / "paths" / "default.yaml").runs).expanduser().absolute()
