"""What is wrong with the words of a command, said in its own terms before Hydra reads them."""

import re
from collections.abc import Sequence
from pathlib import Path

from mezzotint.app.help import choices, config_dir, groups
from mezzotint.errors import ConfigError
from mezzotint.names import nearest

LISTS = ("metrics", "callbacks", "logger")  # groups of which several may be chosen
WITH_VALUE = {"--cfg", "-c", "--config-dir", "-cd", "--config-name", "-cn", "--package", "-p", "--info", "-i"}
ALONE = {"--multirun", "-m", "--run", "-r", "--resolve", "--hydra-help"}


def check_words(words: Sequence[str], many: bool, own: Sequence[str] = ()) -> None:
    """Refuse what is no option, no key=value, or no choice of a group.

    Args:
        many: whether each combination of values with commas is a job.
        own: config folders of the user's own.

    Raises:
        ConfigError: the first that is wrong.
    """
    waiting = False
    for word in words:
        if waiting:
            waiting = False
        elif word.startswith("-"):
            check_option(word)
            waiting = word in WITH_VALUE
        elif not word.startswith("~"):
            check_pair(word, many, own)


def check_option(word: str) -> None:
    name, equals, _ = word.partition("=")
    if name not in WITH_VALUE and (name not in ALONE or equals):
        raise ConfigError(f"no option {word}{nearest(name, WITH_VALUE | ALONE)}")


def check_pair(word: str, many: bool, own: Sequence[str]) -> None:
    key, equals, value = word.partition("=")
    group = key.lstrip("+")
    if not equals:
        raise ConfigError(f"{word!r} is not key=value")
    if group not in groups():
        return
    known = known_choices(group, own)
    if value in ("null", ""):
        none = f": {group}=none chooses nothing" if "none" in known else ""
        raise ConfigError(f"{word}: give the name of a choice{none} ({', '.join(known)})")
    if group in LISTS:
        for name in re.findall(r"[\w.-]+", value):
            if name not in known:
                raise ConfigError(f"{group}={name}: no such choice{nearest(name, known)} ({', '.join(known)})")
    elif value.startswith("["):
        raise ConfigError(f"{word}: one {group} at a time; lists are for {', '.join(LISTS)}. For a job each: -m")
    elif re.fullmatch(r"[\w.-]+(,[\w.-]+)+", value) and not many:
        raise ConfigError(f"{word}: one {group} at a time, or -m for a job each")


def known_choices(group: str, own: Sequence[str]) -> list[str]:
    return sorted({name for place in (config_dir(), *map(Path, own)) for name in choices(place / group)})
