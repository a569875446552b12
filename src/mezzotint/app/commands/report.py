"""`mezzotint report DIR...`: one HTML page of a run, of a sweep, or of several of them side by side."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from mezzotint.app.commands.sweep import compared, differing
from mezzotint.app.config.job import Config, defaults
from mezzotint.app.config.values import at, short
from mezzotint.app.help import version
from mezzotint.app.results import run_folders
from mezzotint.app.terminal import display_path
from mezzotint.atomic import write_text
from mezzotint.errors import ConfigError
from mezzotint.progress import bar
from mezzotint.report import Entry, Report, compose
from mezzotint.runs import RunDir
from mezzotint.runs.directory import DAMAGED
from mezzotint.runs.folders import find_runs, read_configs

OUT = "out="
FILE = "report.html"


def main(words: Sequence[str]) -> None:
    """Write the page and print what it leaves out and, last, where it is."""
    places, path = read(words)
    directories = list(dict.fromkeys(run for place in places for run in below(place)))
    path = path or common(places) / FILE
    try:
        run_folders.writable(path.parent)
    except ConfigError:
        raise ConfigError(f"{path.parent} cannot be written; name a file elsewhere: out=FILE") from None
    report = gather(directories, places)
    with bar("reading", len(report.entries)) as advance:
        page, left_out = compose(report, advance)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)
    for what in left_out:
        print(f"left out: {what}")
    print(display_path(path))


def read(words: Sequence[str]) -> tuple[list[Path], Path | None]:
    """The folders, and the file if it is named. `run=DIR`, as other commands say it, is a folder too."""
    outs = [word.removeprefix(OUT) for word in words if word.startswith(OUT)]
    places = [Path(word.removeprefix("run=")).expanduser() for word in words if not word.startswith(OUT)]
    unknown = [word for word in words if is_unknown_argument(word)]
    if unknown:
        raise ConfigError(f"{unknown[0]}: give folders of runs, or out=FILE to write the page elsewhere")
    if not places:
        raise ConfigError("which runs? Give one run, several, or a folder of runs: mezzotint report runs/latest")
    out = Path(outs[-1]).expanduser() if outs else None
    if out and (out.suffix not in (".html", ".htm") or out.is_dir()):
        raise ConfigError(f"out={out}: give a file name that ends in .html")
    return places, out


def is_unknown_argument(word: str) -> bool:
    """Return True for an option or a key that the command does not have; a folder's name may contain any character."""
    return not (word.startswith((OUT, "run=")) or Path(word).exists()) and (word.startswith("-") or "=" in word)


def below(place: Path) -> list[Path]:
    """Return the folder if it is a run, else all runs in it."""
    if RunDir(place).exists():
        return [place.resolve()]
    if not place.is_dir():
        raise ConfigError(f"{place} is not a folder; `mezzotint runs` lists the runs that exist")
    found = [run.path.resolve() for run in find_runs(place)]
    if not found:
        raise ConfigError(f"{place} holds no runs: there is no config.yaml in it, nor one or two folders below")
    return found


def common(places: Sequence[Path]) -> Path:
    """Return the default folder of the page: the only folder, or the one that contains all of them."""
    if len(places) == 1:
        return places[0]
    return Path(os.path.commonpath([place.resolve().parent for place in places]))


def gather(directories: Sequence[Path], places: Sequence[Path]) -> Report:
    configs, damaged = read_configs(directories)
    if not configs:
        why = next(iter(damaged.values()))
        raise ConfigError(why if len(damaged) == 1 else f"none of the {len(damaged)} runs has a config.yaml: {why}")
    known = list(configs)
    same = [compared(defaults() | configs[directory]) for directory in known]  # some never heard of later words
    keys = sorted(differing(same), key=lambda key: key == "seed")  # the last column
    root = Path(os.path.commonpath([directory.parent for directory in directories]))
    groups: dict[str, int] = {}
    entries = [
        Entry(
            directory,
            str(directory.relative_to(root)),
            RunDir(directory).state,
            RunDir(directory).status() | ({"error": why} if (why := RunDir(directory).status_error()) else {}),
            configs[directory],
            [short(at(config, key)) for key in keys],
            groups.setdefault(but_for_seed(config), len(groups)),
        )
        for directory, config in zip(known, same, strict=True)
    ]
    entries += [
        Entry(
            directory,
            str(directory.relative_to(root)),
            DAMAGED,
            {"error": why},
            {},
            [""] * len(keys),
            -1 - i,
        )
        for i, (directory, why) in enumerate(damaged.items())
    ]
    title = known[0].name if len(directories) == 1 else f"{len(directories)} runs"
    if len(directories) > 1 == len(places):
        title += f" of {places[0].resolve().name}"
    unread = [f"{len(damaged)} runs without a readable config.yaml"] if damaged else []
    return Report(title, entries, keys, version(), unread)


def but_for_seed(config: Config) -> str:
    return json.dumps({key: value for key, value in config.items() if key != "seed"}, sort_keys=True, default=str)
