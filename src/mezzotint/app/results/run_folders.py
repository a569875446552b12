"""The place of a run by its config, and which configs may go on in an existing one."""

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mezzotint.app.config.derived import as_before, bounded
from mezzotint.app.config.job import FREE, Config, differences, digest, identity, relocatable
from mezzotint.app.help import config_dir
from mezzotint.errors import ConfigError
from mezzotint.instantiate import renamed
from mezzotint.runs import RunDir

PROBE = 1 << 16  # bytes that must have room where something is to be written


def place(config: Config, named: bool, many: bool) -> Path:
    """Where a new run lies: runs/<name> if the user named it, else with the digest of its config behind the name."""
    root, mark = Path(config["paths"]["runs"]), digest(config)
    if many:
        return root / config["name"] / mark
    return root / (config["name"] if named else f"{config['name']}-{mark}")


def settled(config: Config, named: bool, many: bool) -> Config:
    """The config whose amounts are settled for its budget: as they were in the same run of a version that set none."""
    new, before = bounded(config), as_before(config)
    if config["run"] or new == before:
        return new
    there, older = place(new, named, many), place(before, named, many)
    if there != older and RunDir(there).exists():
        return new
    known = RunDir(older).exists() and identity(RunDir(older).config()) == identity(before)
    return before if known else new


def refuse_other(directory: Path, config: Config) -> None:
    """Refuse a directory that is not this config's run: another config's, or a folder of something else."""
    run = RunDir(directory)
    if run.exists():
        old, new = identity(run.config()), identity(config)
        if old != new:
            differ = ", ".join(differences(old, new))
            raise ConfigError(
                f"{directory} holds another run: it differs in {differ}. "
                f"Choose another name=, or go on with that one by run={directory}"
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
    """Refuse a place that cannot be written, before anything is made there."""
    there = next(folder for folder in (directory, *directory.parents) if folder.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise ConfigError(f"{there} cannot be written; give another paths.runs=")
    try:
        with tempfile.TemporaryFile(dir=there) as probe:  # before hours are spent on what has no room
            probe.write(bytes(PROBE))
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or 0), str(there)) from error


def other_step(directory: Path, step: int | str | None) -> int | None:
    """The step of the checkpoint that `step=` names; None where that is the newest, which needs no name.

    Raises:
        ConfigError: the run does not keep it.
    """
    if step is None:
        return None
    from mezzotint.runs.checkpoints import step_of

    number = step_of(RunDir(directory).checkpoint(step))
    return None if number == RunDir(directory).newest_step() else number


def existing(config: Config) -> Path:
    """The directory of run=, for commands that draw from a run.

    Raises:
        ConfigError: no run is given, or its config was changed where only training again would obey.
    """
    if not config["run"]:
        raise ConfigError("which run? Give run=DIR, such as run=runs/latest; `mezzotint runs` lists them")
    directory = Path(config["run"])
    changed = differences(trained(RunDir(directory).config()), trained(config))
    if changed:
        raise ConfigError(f"{', '.join(changed)} cannot change after training: {directory} was trained without it")
    return directory


def trained(config: Config) -> Config:
    """What of a config is in the weights. Other images of the same shape and classes may be compared with."""
    kept = {key: value for key, value in relocatable(config).items() if key not in (*FREE, "seed", "data")}
    return kept | {"data": {key: config["data"].get(key) for key in ("shape", "classes")}}


def mark(config: Config, keys: Sequence[str]) -> str:
    """Six hexadecimal digits of a part of a config."""
    part = {key: value for key, value in relocatable(config).items() if key in keys}
    return hashlib.sha256(json.dumps(renamed.original(part), sort_keys=True).encode()).hexdigest()[:6]


def folder() -> Path:
    """Where runs lie unless a command is told otherwise: the runs of paths=default."""
    from omegaconf import OmegaConf

    return Path(OmegaConf.load(config_dir() / "paths" / "default.yaml").runs).expanduser().absolute()
