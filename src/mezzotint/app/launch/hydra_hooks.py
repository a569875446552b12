"""Hooks into Hydra: the folders that sweeps make, plugins, workers, composing, and the evaluations to sum up."""

import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode

from mezzotint.app.launch.gpus import visible

POINTS = "points.txt"  # in the folder of a sweep: the evaluations that its jobs made or found

PATIENCE = 0.5  # seconds until an orphan knows that it is one

_watched = False  # by this worker of a sweep
_folders: set[Path] = set()  # of sweeps: made by Hydra
_new: set[Path] = set()  # the first of them and those above it, as far as none was there before


class SweepFolderCallback(Callback):
    """Hydra callback that records the folders that Hydra makes."""

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        strip_override_prefixes(config)
        folder = Path(config.hydra.sweep.dir).absolute()
        forget()
        _folders.add(folder)
        _new.update(place for place in (folder, *folder.parents) if not place.exists())
        (folder / POINTS).unlink(missing_ok=True)

    def on_job_start(self, config: Any, **_: Any) -> None:
        if _folders:
            _folders.add(Path(config.hydra.sweep.dir).absolute())


def sweep_started() -> bool:
    """Return True if Hydra has started a sweep in this process."""
    return bool(_folders)


def forget() -> None:
    _folders.clear()
    _new.clear()


def strip_override_prefixes(config: Any) -> None:
    """Name Optuna's parameters as they are typed: optimizer.lr, not ++optimizer.lr.

    Our own ++ before a word lets it be said though no file has the key; where one has, it is not needed. And a value
    on the command line takes the place of the sweep's own interval only under the same name.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf, open_dict, read_write

    if "optuna" not in str(config.hydra.sweeper.get("_target_")):
        return
    words = list(config.hydra.overrides.task)
    swept = [override.is_sweep_override() for override in OverridesParser.create().parse_overrides(words)]
    searched = set(config.hydra.sweeper.get("params") or ())
    for i, word in enumerate(words):
        plain = word.removeprefix("++")
        key = plain.partition("=")[0]
        if key in searched or (swept[i] and OmegaConf.select(config, key) is not None):
            words[i] = plain
    with read_write(config), open_dict(config):
        config.hydra.overrides.task = words


def find_plugins() -> None:
    """Restrict Hydra's plugin search to installed packages: it imports every file of a folder `hydra_plugins`.

    `python -m mezzotint` finds modules in the present folder first.
    """
    from hydra.core.plugins import Plugins

    here, before = os.path.realpath(os.getcwd()), list(sys.path)
    sys.path[:] = [place for place in before if place and os.path.realpath(place) != here]
    try:
        Plugins.instance()
    finally:
        sys.path[:] = before


@contextmanager
def composed_once(words: Sequence[str]) -> Iterator[None]:
    """Keep Hydra (1.3) from composing all of a config twice, first only to read hydra.mode, where nothing can set it.

    Args:
        words: of the command line; besides them only the files of configs/sweep set hydra.mode.
    """
    from hydra._internal.hydra import Hydra

    asked = Hydra.get_mode
    if not any(word.lstrip("+~").startswith(("hydra", "sweep")) or foreign(word) for word in words):
        Hydra.get_mode = lambda self, config_name, overrides: None  # as where hydra.mode is null
    try:
        yield
    finally:
        Hydra.get_mode = asked


def foreign(word: str) -> bool:
    """Return whether a word is an option that may bring config files of others, such as --config-dir."""
    return word.startswith("-") and word not in ("-m", "--multirun")


def leave_with_parent() -> None:
    """In a worker of a sweep, end soon after the process that started it, however that ended.

    An orphan would go on for hours, and hold the GPU that the sweep, started again, waits for. What it wrote is whole
    at any moment; its own ranks end with it.
    """
    global _watched
    if _watched or multiprocessing.current_process().name == "MainProcess":
        return
    _watched, parent = True, os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PATIENCE)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def count_gpus() -> None:
    """Register the resolver ${gpus:}, the number of GPUs, for launchers."""
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("gpus", lambda: max(1, len(visible())), replace=True)


def in_sweep() -> bool:
    """Return True if Hydra runs this job as one of a sweep."""
    return HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN


def remember(evaluation: Path) -> None:
    """Record the evaluation of a job of a sweep in a file: the job may be a process of its own."""
    if in_sweep():
        with open(Path(HydraConfig.get().sweep.dir) / POINTS, "a") as file:
            file.write(f"{evaluation.resolve()}\n")


def points() -> list[Path]:
    """Return the evaluations that the last sweep recorded, each once, and delete the record."""
    found: list[str] = []
    for file in (folder / POINTS for folder in _folders):
        if file.is_file():
            found += file.read_text().splitlines()
            file.unlink()
    return [Path(line) for line in dict.fromkeys(found)]


def remove_empty_sweep_dirs() -> None:
    """Remove multirun.yaml and empty folders of a sweep that made no run."""
    for folder in _folders:
        if folder.is_dir() and {file.name for file in folder.iterdir()} <= {"multirun.yaml"}:
            (folder / "multirun.yaml").unlink(missing_ok=True)
            for place in (folder, *(above for above in folder.parents if above in _new)):
                if not any(place.iterdir()):
                    place.rmdir()
    forget()
