"""The text of `--help`, from the config folders alone: neither Hydra nor torch is imported."""

import re
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from mezzotint.app.help_text import (
    COMMANDS,
    EXAMPLES,
    GROUPS,
    KINDS,
    MORE,
    OF_CHECK,
    OF_EDIT,
    OF_ENCODE,
    OF_EVALUATE,
    OF_PREPARE,
    OF_SAMPLE,
    OF_STATS,
    OF_TRAIN,
    OWN_WORDS,
    SHELLS,
    TITLES,
    USAGE,
    WORDS,
)

__all__ = ["COMMANDS", "GROUPS", "KINDS", "OWN_WORDS", "WORDS"]


@cache
def config_dir() -> Path:
    """The folder of config groups: inside an installed wheel, or beside src/ in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "configs"
    return inside if inside.is_dir() else package.parents[1] / "configs"


@cache
def groups() -> frozenset[str]:
    """The config groups of a job, without experiment, debug and sweep, which override several of them."""
    names = {folder.name for folder in config_dir().iterdir() if folder.is_dir()}
    return frozenset(names - {"experiment", "debug", "sweep", "hydra"})


def choices(folder: Path) -> list[str]:
    return sorted(file.stem for file in folder.glob("*.yaml"))


def taken_by(group: str, key: str) -> str:
    """Return the choices of a group that take an argument which the chosen one does not, as the end of a message."""
    folder = config_dir() / group
    texts = {name: (folder / f"{name}.yaml").read_text(encoding="utf-8") for name in choices(folder)}
    names = [name for name, text in texts.items() if re.search(rf"^{re.escape(key)}:", text, re.MULTILINE)]
    return f"; it belongs to {group}={', '.join(names)}" if names else ""


def version() -> str:
    from mezzotint import __version__

    return f"mezzotint {__version__}"


def overview() -> str:
    return "\n".join(
        [
            "mezzotint: train, sample and evaluate denoising diffusion models",
            "",
            "usage: mezzotint COMMAND [key=value ...]",
            "",
            *table(COMMANDS.items()),
            "",
            "mezzotint COMMAND --help   examples, arguments and choices of a command",
            "",
            "shell completion of commands, keys, choices and runs; add to your shell's startup file",
            *(f"  {shell:6}{line}" for shell, line in SHELLS.items()),  # never broken: they are copied
        ]
    )


def of(command: str, more: Sequence[str] = ()) -> str:
    """Help of one command; `more` are additional config folders."""
    folders: dict[str, list[str]] = {}
    for place in (config_dir(), *map(Path, more)):
        for folder in sorted(place.iterdir() if place.is_dir() else ()):
            if folder.is_dir() and choices(folder):
                folders[folder.name] = sorted({*folders.get(folder.name, []), *choices(folder)})
    first = {name: folders.pop(name) for name in ("experiment", "debug", "sweep") if name in folders}
    chosen = {**first, **folders}
    if command in OWN_WORDS or command in GROUPS:
        chosen = {name: names for name, names in folders.items() if name in GROUPS.get(command, ())}
    return "\n".join(
        [
            f"mezzotint {command}: {COMMANDS[command]}",
            "",
            f"usage: mezzotint {command} {USAGE.get(command, '[key=value ...] [-m] [--cfg job] [--config-dir DIR]')}",
            "",
            *(f"  {line}" for line in EXAMPLES[command].splitlines()),
            "",
            "arguments",
            *table(words_of(command).items()),
            *(["", "groups and their choices"] if chosen else []),
            *table((name, titled(name, names)) for name, names in chosen.items()),
            *([] if command in OWN_WORDS else ["", *more_of(command)]),
        ]
    )


def titled(group: str, names: Sequence[str]) -> str:
    listed = ", ".join(names)
    return f"{TITLES[group]}: {listed}" if group in TITLES else listed


def choice_help(words: Sequence[str], more: Sequence[str] = ()) -> str | None:
    """Help on the choices named in a command: the keys of data=image_folder with comments, or for data= all choices."""
    pairs = [word.lstrip("+").partition("=")[::2] for word in words if "=" in word and not word.startswith("-")]
    places = [config_dir(), *map(Path, more)]
    parts = [part for group, choice in pairs for part in [about(group, choice, places)] if part]
    return "\n\n".join(parts) or None


def about(group: str, choice: str, places: Sequence[Path]) -> str:
    files = {file.stem: file for place in places for file in sorted((place / group).glob("*.yaml"))}
    if not group.isidentifier() or not files:
        return ""
    if choice not in files:
        rows = ((name, remark(file)) for name, file in sorted(files.items()))
        return "\n".join([f"{group}=NAME: {TITLES.get(group, 'own choices')}", "", *table(rows)])
    lines = files[choice].read_text(encoding="utf-8").splitlines()
    body = [line for line in lines if "# @package" not in line]
    of_keys = "" if group in ("experiment", "debug", "sweep") else f"; set its keys by {group}.KEY=VALUE"
    return "\n".join([f"{group}={choice}{of_keys}", "", *(f"  {line}" for line in body)])


def remark(file: Path) -> str:
    """The comment on the first line of a config file."""
    lines = (line for line in file.read_text(encoding="utf-8").splitlines() if "# @package" not in line)
    first = next(lines, "")
    return first.lstrip("# ") if first.startswith("#") else ""


def words_of(command: str) -> dict[str, str]:
    own = {"sample": OF_SAMPLE, "evaluate": OF_EVALUATE, "stats": OF_STATS, "check": OF_CHECK, "encode": OF_ENCODE}
    own |= {"edit": OF_EDIT, "prepare": OF_PREPARE}
    return OWN_WORDS.get(command) or own.get(command, OF_TRAIN)


def more_of(command: str) -> list[str]:
    lines = [line for line in MORE if command not in ("stats", "encode", "prepare") or not line.startswith("-m")]
    return [line.format(command) for line in lines]


def table(rows: Iterable[tuple[str, str]]) -> list[str]:
    rows = list(rows)
    width = max((len(key) for key, _ in rows), default=0) + 2
    room = max(shutil.get_terminal_size().columns - width - 2, 40)
    lines = []
    for key, text in rows:
        head, *tail = textwrap.wrap(text, room) or [""]
        lines += [f"  {key:{width}}{head}", *(f"  {'':{width}}{line}" for line in tail)]
    return lines
