"""Folders of runs: the runs below a folder, their configs, and the link to the newest one."""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from mezzotint.errors import MezzotintError
from mezzotint.reading import changed
from mezzotint.runs.directory import RunDir
from mezzotint.runs.formats import Node

LATEST = "latest"  # the link to the newest run, beside the runs


def find_runs(root: Path) -> list[RunDir]:
    """Return the runs below a folder, newest last: runs/<name> and, of sweeps, runs/<name>/<digest>."""
    found = [run for above in subfolders(root) for place in (above, *subfolders(above)) for run in run_at(place)]
    return sorted(found, key=lambda run: changed(run.config_file))


def runs_in(folder: Path) -> list[RunDir]:
    """Return the runs that are direct children of a folder, by name."""
    return [run for place in subfolders(folder) for run in run_at(place)]


def run_at(place: Path) -> Sequence[RunDir]:
    """Return the run at a folder, even one whose config is a broken link; nothing if there is none."""
    run = RunDir(place)
    return [run] if os.path.lexists(run.config_file) else []


def subfolders(place: Path) -> list[Path]:
    """Return the folders in a folder that are not links, by name; none where it cannot be listed."""
    try:
        with os.scandir(place) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []
    return [place / name for name in names]


def read_configs(directories: Iterable[Path]) -> tuple[dict[Path, Node], dict[Path, str]]:
    """Return the configs of runs, and the reasons why those of others cannot be used."""
    known, damaged = {}, {}
    for directory in directories:
        try:
            known[directory] = RunDir(directory).config()
        except MezzotintError as error:
            damaged[directory] = str(error)
    return known, damaged


def link_latest(run: Path, root: Path) -> None:
    """Point the link `latest` in a folder of runs to this run, atomically.

    Nothing is done where the file system has no links, or something that is not a link has that name.
    """
    link, latest = root / f".{LATEST}.{os.urandom(4).hex()}", root / LATEST
    if latest.exists() and not latest.is_symlink():
        return
    with suppress(OSError):
        link.symlink_to(os.path.relpath(run, root))
        os.replace(link, latest)
