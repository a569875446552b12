"""The words of a command: what Hydra is told in their place, and what is wrong with them, said in our own terms."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

from mezzotint.app.config.job import Job, check_name
from mezzotint.app.help import choices, config_dir, groups
from mezzotint.errors import ConfigError
from mezzotint.names import nearest

CONFIG, STANDALONE = "mezzotint", "standalone"  # files of configs/
SAVED = "_run_"  # the choice, in each group, that a run's own config.yaml makes
NUMBER = re.compile(r"[+-]?[\d._]+(e[+-]?\d+)?|true|false|inf|nan", re.IGNORECASE)
KEYS = {item.name for item in fields(Job)}
SETTINGS = ("experiment", "debug", "sweep")  # folders of configs/ that set several groups
LISTS = ("metrics", "callbacks", "logger")  # groups of which several may be chosen
VALUES = {  # options with a value, and the values that there are where only some are
    ("--cfg", "-c"): ("job", "hydra", "all"),
    ("--info", "-i"): ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    ("--config-dir", "-cd"): (),
    ("--config-name", "-cn"): (),
    ("--package", "-p"): (),
}
WITH_VALUE = {option for options in VALUES for option in options}
ALONE = {"--multirun", "-m", "--run", "-r", "--resolve", "--hydra-help"}
QUESTIONS = (("--multirun", "-m"), ("--run", "-r"), ("--cfg", "-c"), ("--info", "-i"))  # one of them at a time


# --------------------------------------------------------------------------------------------------- what Hydra is told


def at_home(word: str) -> str:
    """A shell expands ~ only at the start of a word, and not in paths.data=~/images."""
    key, equals, path = word.partition("=")
    return f"{key}={Path(path).expanduser()}" if equals and path.startswith("~/") else word


def bare(word: str) -> str:
    """Let what plans a sweep write --optimizer.lr=0.1; the flags of Hydra stay flags."""
    return word[2:] if re.match(r"--\w[\w.]*=", word) and word.partition("=")[0] not in WITH_VALUE else word


def addable(word: str) -> str:
    """Let network.resample=residual be said though the file leaves it out: the signature decides, not the file.

    So a + before a key or a group that we have ourselves, a habit from other programs, means nothing.
    """
    plain = word.lstrip("+")
    key, equals, _ = plain.partition("=")
    group, dot, _ = key.partition(".")
    if not equals or key in groups() or key in SETTINGS:
        return plain
    if word != plain:
        return f"++{plain}" if dot or key in KEYS else word
    return f"++{plain}" if dot and group in groups() else plain


def readable(word: str) -> str:
    """The word with quotes where Hydra would stumble over its value, as over a path with = or ' or an umlaut in it.

    And a name that is a number stays a name.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    key, equals, said = word.partition("=")
    if word.startswith("-") or not equals or said.startswith(("[", "{", "'", '"')) or "${" in said:
        return word
    if key.lstrip("+") == "name" and NUMBER.fullmatch(said):
        return f"{key}='{said}'"
    try:
        OverridesParser.create().parse_override(word)
    except HydraException:
        return f"{key}={','.join(map(quoted, said.split(',')))}"
    return word


def quoted(text: str) -> str:
    """In single quotes; before one of its own, and at the end, a backslash would be taken for the mark of a quote."""
    marked = re.sub(r"\\+(?='|$)", lambda found: 2 * found[0], text)
    return "'" + marked.replace("'", r"\'") + "'"


def flags_first(words: Sequence[str]) -> list[str]:
    """argparse takes `-m a=1 b=2` but not `a=1 -m b=2`; and takes what follows --info for what is asked for."""
    flags, overrides, waiting = [], [], False
    for word, after in pairwise([*words, ""]):
        whole = word in ("--info", "-i") and after not in VALUES["--info", "-i"]
        (flags if waiting or word.startswith("-") else overrides).append("--info=all" if whole else word)
        waiting = not waiting and not whole and word in WITH_VALUE
    return flags + overrides


# ---------------------------------------------------------------------------------------------------- what they ask for


def primary(command: str, words: Sequence[str]) -> str:
    """The config that the words change: a run's own, that of what needs no run, or the usual one.

    Images that no run has drawn are judged, or looked at, by `evaluate images=DIR` and by `stats`.
    """
    run, images = value("run", words), value("images", words)
    if command == "stats" or (command == "evaluate" and images and not run):
        return STANDALONE
    if command == "evaluate" and run and images not in ("", "none", "png", "npz"):
        raise ConfigError(
            "run= and images= exclude each other: evaluate judges what a run draws, or images of a folder"
        )
    return SAVED if run else CONFIG


def value(key: str, words: Iterable[str]) -> str:
    """What the words say of a key, the last of them; nothing where that is null."""
    said = [word.partition("=")[2] for word in words if word.lstrip("+").startswith(f"{key}=")]
    return said[-1] if said and said[-1] != "null" else ""


def own_configs(words: Sequence[str]) -> list[str]:
    """The folder of `--config-dir DIR` or `--config-dir=DIR`, if one is given."""
    apart = [after for word, after in pairwise([*words, ""]) if word in ("--config-dir", "-cd")]
    found = apart + [word.partition("=")[2] for word in words if word.startswith(("--config-dir=", "-cd="))]
    return [os.path.abspath(folder) for folder in found]


# ---------------------------------------------------------------------------------------------- what is wrong with them


def check_words(words: Sequence[str], many: bool, own: Sequence[str] = ()) -> None:
    """Refuse what is no option, no key=value, or no choice of a group.

    Args:
        many: whether each combination of values with commas is a job.
        own: config folders of the user's own.

    Raises:
        ConfigError: the first that is wrong.
    """
    check_options([word for word in words if word.startswith("-")])
    waiting = ""
    for word in words:
        if waiting:
            check_value(waiting, word)
            waiting = ""
        elif word.startswith("-"):
            check_option(word)
            waiting = word if word in WITH_VALUE else ""
        elif not word.startswith("~"):
            check_pair(word, many, own)
    if waiting:
        check_value(waiting, "")
    check_own(own)


def check_option(word: str) -> None:
    name, equals, said = word.partition("=")
    if name not in WITH_VALUE and (name not in ALONE or equals):
        raise ConfigError(f"no option {word}{nearest(name, WITH_VALUE | ALONE)}")
    if equals:
        check_value(name, said)


def check_value(option: str, said: str) -> None:
    known = next(values for options, values in VALUES.items() if option in options)
    if not said or said.startswith("-") or (known and said not in known):
        raise ConfigError(f"{option} {said}".strip() + f": it takes {', '.join(known) or 'a value'}")


def check_options(words: Sequence[str]) -> None:
    """Refuse options that only Hydra would know not to fit together."""
    given = {word.partition("=")[0] for word in words}
    asked = [next(option for option in options if option in given) for options in QUESTIONS if given & {*options}]
    if len(asked) > 1:
        raise ConfigError(f"{' and '.join(asked)} exclude each other: one question at a time")
    for option in ("--resolve", "--package", "-p"):
        if option in given and not given & {"--cfg", "-c"}:
            raise ConfigError(f"{option} changes what --cfg job shows; it means nothing without")


def check_pair(word: str, many: bool, own: Sequence[str]) -> None:
    key, equals, said = word.lstrip("+").partition("=")
    if not (key and equals):
        raise ConfigError(f"{word!r} is not key=value")
    if key == "run" and not said:
        raise ConfigError("run=: give the folder of a run, such as run=runs/latest; `mezzotint runs` lists them")
    if key == "name" and "/" in said:  # Hydra would make the folder of a sweep before its config is looked at
        check_name(said)
    if key in groups() or key in SETTINGS:
        check_choice(key, said, many, own)


def check_choice(group: str, said: str, many: bool, own: Sequence[str]) -> None:
    known = known_choices(group, own)
    if said in ("null", ""):
        none = f": {group}=none chooses nothing" if "none" in known else ""
        none = ", or leave it out" if group in SETTINGS else none
        raise ConfigError(f"{group}={said}: give the name of a choice{none} ({', '.join(known)})")
    if group in LISTS:
        for name in re.findall(r"[\w.-]+", said):
            if name not in known:
                raise ConfigError(f"{group}={name}: no such choice{nearest(name, known)} ({', '.join(known)})")
    elif said.startswith("["):
        raise ConfigError(
            f"{group}={said}: one {group} at a time; lists are for {', '.join(LISTS)}. For a job each: -m"
        )
    elif re.fullmatch(r"[\w.-]+(,[\w.-]+)+", said) and not many:
        raise ConfigError(f"{group}={said}: one {group} at a time, or -m for a job each")
    elif (
        "/" in said and "," not in said and not any((place / group / f"{said}.yaml").is_file() for place in places(own))
    ):
        folder = f"; a folder of images is data=image_folder data.root={said}" if group == "data" else ""
        raise ConfigError(f"{group}={said}: no such choice ({', '.join(known)}){folder}")


def check_own(own: Sequence[str]) -> None:
    """Refuse files that Hydra would pass over, because we have a choice of that name ourselves."""
    for folder in map(Path, own):
        for file in sorted(folder.glob("*/*.yaml")):
            ours = config_dir() / file.relative_to(folder)
            if ours.is_file() and ours.read_bytes() != file.read_bytes():
                raise ConfigError(
                    f"{file} would not be used: mezzotint has a {file.parent.name}={file.stem} itself. Give the file "
                    "another name"
                )


def places(own: Sequence[str]) -> list[Path]:
    return [config_dir(), *map(Path, own)]


def known_choices(group: str, own: Sequence[str]) -> list[str]:
    return sorted({name for place in places(own) for name in choices(place / group)})
