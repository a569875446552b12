"""A run is a directory: its place, its lock, its state, its config."""

import fcntl
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from mezzotint.app.config.derived import as_before, bounded
from mezzotint.app.config.job import FREE, Config, differences, digest, identity, relocatable
from mezzotint.app.help import config_dir
from mezzotint.atomic import write_text
from mezzotint.errors import ConfigError, MezzotintError
from mezzotint.instantiate import renamed
from mezzotint.instantiate.build import find_checkpoint, read_config
from mezzotint.reading import Damaged, changed, opened
from mezzotint.runs import formats

Status = dict[str, Any]
DAMAGED = "damaged"
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
    if there != older and (there / "config.yaml").is_file():
        return new
    known = (older / "config.yaml").is_file() and identity(read_config(older)) == identity(before)
    return before if known else new


BEFORE_CONFIG = (
    "train.log",
    "status.json",
    "environment.json",
    "data.json",
)  # of a run that was killed in its first moment


def refuse_other(directory: Path, config: Config) -> None:
    """Refuse a directory that is not this config's run: another config's, or a folder of something else."""
    if (directory / "config.yaml").is_file():
        old, new = identity(read_config(directory)), identity(config)
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
    elif strangers := strange(directory):
        raise ConfigError(
            f"{directory} is no run: it holds {strangers[0]} and no config.yaml; choose another name= or paths.runs="
        )


def strange(directory: Path) -> list[str]:
    """What lies in a folder that is not what a run writes before its config."""
    found = (file.name for file in directory.iterdir()) if directory.is_dir() else ()
    return sorted(name for name in found if not name.startswith(".") and name not in BEFORE_CONFIG)


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


@contextmanager
def claim(directory: Path) -> Iterator[TextIO]:
    """Hold a run against every other process, and hand out its log.

    The lock is the kernel's, on train.log: no file is left behind, and it ends with its holder however that ends.
    """
    directory.mkdir(parents=True, exist_ok=True)
    formats.keep_inside(directory)
    with open(directory / "train.log", "a", buffering=1, encoding="utf-8", errors="backslashreplace") as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"{directory}: another process is training this run") from None
        except OSError as error:
            raise ConfigError(
                f"{directory}: files cannot be locked there ({error.strerror}), so two processes could write one run; "
                "give a paths.runs= on another file system, or have this one mounted with locks (flock)"
            ) from error
        yield log


def locked(directory: Path) -> bool:
    """Whether a process holds this run; where files cannot be locked, none trains."""
    try:
        with opened(directory / "train.log", directory) as log:
            return held(log)
    except (FileNotFoundError, Damaged):
        return False


def held(log: BinaryIO) -> bool:
    try:
        fcntl.flock(log, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def point_latest(directory: Path, root: Path) -> None:
    """`runs/latest` is a link to the newest run; replaced whole, so that it never points nowhere.

    There is none where a file system knows no links, nor for a run that was moved away from a folder of runs.
    """
    link = root / f".latest.{os.urandom(4).hex()}"
    if (root / "latest").exists() and not (root / "latest").is_symlink():
        return
    with suppress(OSError):
        link.symlink_to(os.path.relpath(directory, root))
        os.replace(link, root / "latest")


def write_config(directory: Path, config: Config) -> None:
    import yaml

    write_text(directory / "config.yaml", yaml.safe_dump(config | {"run": None}, sort_keys=False))


def read_status(directory: Path) -> Status:
    """What status.json says; {} where it says nothing that can be used."""
    try:
        return formats.status(directory)
    except Damaged:
        return {}


def write_status(directory: Path, **entries: Any) -> None:
    now = {**read_status(directory), **entries, "time": time.time()}
    write_text(directory / "status.json", json.dumps(now, indent=1))


def newest_step(directory: Path) -> int:
    """The step of the newest checkpoint that is whole, as it is read; 0 without one."""
    from mezzotint.training.callbacks.checkpoints import newest, step_of

    file = newest(directory / "checkpoints", quiet=True)
    return step_of(file) if file else 0


def other_step(directory: Path, step: int | str | None) -> int | None:
    """The step of the checkpoint that `step=` names; None where that is the newest, which needs no name.

    Raises:
        ConfigError: the run does not keep it.
    """
    if step is None:
        return None
    number = int(find_checkpoint(directory, step).stem.removeprefix("step-"))
    return None if number == newest_step(directory) else number


def existing(config: Config) -> Path:
    """The directory of run=, for commands that draw from a run.

    Raises:
        ConfigError: no run is given, or its config was changed where only training again would obey.
    """
    if not config["run"]:
        raise ConfigError("which run? Give run=DIR, such as run=runs/latest; `mezzotint runs` lists them")
    directory = Path(config["run"])
    changed = differences(trained(read_config(directory)), trained(config))
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


def find(root: Path) -> list[Path]:
    """The runs below a folder, newest last: runs/<name> and, of sweeps, runs/<name>/<digest>."""
    above = folders(root)
    found = [one for folder in above for one in (folder, *folders(folder)) if os.path.lexists(one / "config.yaml")]
    return sorted(found, key=lambda directory: changed(directory / "config.yaml"))


def folders(place: Path) -> list[Path]:
    """The folders in a folder that are no links, by name; none where it cannot be looked into."""
    try:
        with os.scandir(place) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []
    return [place / name for name in names]


def read_configs(directories: Iterable[Path]) -> tuple[dict[Path, Config], dict[Path, str]]:
    """The configs of runs, and of those whose config cannot be used, why."""
    known, damaged = {}, {}
    for directory in directories:
        try:
            known[directory] = read_config(directory)
        except MezzotintError as error:
            damaged[directory] = str(error)
    return known, damaged


def complaint(directory: Path) -> str | None:
    """Why status.json cannot be used; None where it can be, or is not there."""
    try:
        formats.status(directory)
    except Damaged as error:
        return str(error)
    return None


def state(directory: Path) -> str:
    """Its state; "interrupted" where status.json says running and no process holds the run."""
    if complaint(directory):
        return DAMAGED
    said = read_status(directory).get("state", "unknown")
    return "interrupted" if said == "running" and not locked(directory) else said


def folder() -> Path:
    """Where runs lie unless a command is told otherwise: the runs of paths=default."""
    from omegaconf import OmegaConf

    return Path(OmegaConf.load(config_dir() / "paths" / "default.yaml").runs).expanduser().absolute()
