"""Validation of command-line arguments before Hydra parses them."""

import re
from collections.abc import Sequence
from pathlib import Path

from mezzotint.app.config.arguments import ALONE, KEYS, QUESTIONS, SETTINGS, SYNTAX, VALUES, WITH_VALUE
from mezzotint.app.config.job import LISTS, check_name
from mezzotint.app.config.other_names import closest
from mezzotint.app.help import choices, config_dir, groups
from mezzotint.errors import ConfigError
from mezzotint.instantiate import renamed
from mezzotint.instantiate.locate import did_you_mean
from mezzotint.runs import RunDir

LAYOUT = ("*.yaml", "*/*.yaml", "hydra/*/*.yaml")  # places of files in configs/

PLACED = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.output_subdir", "hydra.job.chdir")
PLACED += ("hydra.run", "hydra.sweep")
LOGS = ("hydra/job_logging", "hydra/hydra_logging", "hydra.job_logging", "hydra.hydra_logging")


def check_words(words: Sequence[str], many: bool, own: Sequence[str] = ()) -> None:
    """Raise ConfigError for an argument that is no option, no key=value, or no choice of a group.

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
        elif word.startswith("~"):
            check_deletion(word, own)
        else:
            check_pair(word, many, own)
    if waiting:
        check_value(waiting, "")
    check_own(own)


def check_option(word: str) -> None:
    name, equals, said = word.partition("=")
    if name not in WITH_VALUE and (name not in ALONE or equals):
        key = name.lstrip("-")
        ours = key.partition(".")[0] in {*KEYS, *SETTINGS}
        hint = f"; give {key}=VALUE" if ours else did_you_mean(name, WITH_VALUE | ALONE)
        raise ConfigError(f"no option {word}{hint}")
    if equals:
        check_value(name, said)


def check_value(option: str, said: str) -> None:
    known = next(values for options, values in VALUES.items() if option in options)
    if not said or said.startswith("-") or (known and said not in known):
        raise ConfigError(f"{option} {said}".strip() + f": it takes {', '.join(known) or 'a value'}")


def check_options(words: Sequence[str]) -> None:
    """Reject options that Hydra would only later find to conflict."""
    given = {word.partition("=")[0] for word in words}
    asked = [next(option for option in options if option in given) for options in QUESTIONS if given & {*options}]
    if len(asked) > 1:
        raise ConfigError(f"{' and '.join(asked)} exclude each other: give one of them")
    for option in ("--resolve", "--package", "-p"):
        if option in given and not given & {"--cfg", "-c"}:
            raise ConfigError(f"{option} changes what --cfg job shows; it has no effect without")


def check_pair(word: str, many: bool, own: Sequence[str]) -> None:
    key, equals, said = word.lstrip("+").partition("=")
    if not (key and equals):
        raise ConfigError(f"{word!r} is not key=value{meant(word)}")
    check_hydra(key)
    if key == "run" and not said:
        raise ConfigError("run=: give the folder of a run, such as run=runs/latest; `mezzotint runs` lists them")
    if key == "name" and "/" in said:  # Hydra would make the folder of a sweep before its config is looked at
        check_name(said)
    if key != "run" and "," in said and not said.startswith(SYNTAX) and not all(said.split(",")):
        raise ConfigError(f"{key}={said}: a value is missing before or behind a comma")
    if (today := renamed.spelled(f"{key}={said}")) != f"{key}={said}":
        raise ConfigError(f"{key}={said}: this is now {today}")
    if key in groups() or key in SETTINGS:
        check_choice(key, said, many, own)


def check_deletion(word: str, own: Sequence[str]) -> None:
    key, equals, said = word[1:].partition("=")
    if not re.fullmatch(r"[\w./@:-]+", key) or (equals and not said):
        raise ConfigError(f"{word!r} is not ~KEY, which leaves out a key of the config")
    if equals and (key in groups() or key in SETTINGS) and said not in known_choices(key, own):
        raise ConfigError(f"{word}: ~{key} leaves the group out; another choice is {key}=NAME")


def check_hydra(key: str) -> None:
    """Reject Hydra settings that would create additional directories and logs."""
    if key in PLACED:
        raise ConfigError(f"{key}=: a run lies in the folder NAME of paths.runs; give name=NAME or paths.runs=DIR")
    if key in LOGS:
        raise ConfigError(f"{key}=: a run has its own log, train.log in its folder")


def meant(word: str) -> str:
    """Return a suggestion for an argument without a key."""
    if RunDir(Path(word)).exists():
        return f"; a run is given as run={word}"
    return "; a list is written without spaces: data.shape=[3,32,32]" if word.endswith((",", "]")) else ""


def check_choice(group: str, said: str, many: bool, own: Sequence[str]) -> None:
    known = known_choices(group, own)
    if said in ("null", "") or (said == "none" and said not in known):
        nothing = f"{group}=none" if "none" in known else "metrics=[]" if group == "metrics" else ""
        none = f": {nothing} chooses nothing" if nothing else ""
        none = ", or leave it out" if group in SETTINGS else none
        raise ConfigError(f"{group}={said}: give the name of a choice{none} ({', '.join(known)})")
    if group in LISTS:
        for name in re.findall(r"[\w.-]+", said):
            if name not in known:
                raise ConfigError(f"{group}={name}: no such choice{did_you_mean(name, known)} ({', '.join(known)})")
    elif group == "sampler" and said not in known and re.search(r"[\s+]", said.strip("'\"")):  # DPM++ 2M Karras
        said = said.strip("'\"")
        raise ConfigError(f"{group}={said}: no such choice{closest(group, said, known)} ({', '.join(known)})")
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
    """Reject config files that Hydra would ignore because the package has one of the same name."""
    for folder in map(Path, own):
        for file in sorted(file for pattern in LAYOUT for file in folder.glob(pattern)):
            name = file.relative_to(folder)
            ours = config_dir() / name
            if ours.is_file() and ours.read_bytes() != file.read_bytes():
                said = f"{name.parent}={name.stem}" if name.parent.name else name.name
                raise ConfigError(
                    f"{file} would not be used: mezzotint has a {said} itself. Give the file another name"
                )


def places(own: Sequence[str]) -> list[Path]:
    return [config_dir(), *map(Path, own)]


def known_choices(group: str, own: Sequence[str]) -> list[str]:
    return sorted({name for place in places(own) for name in choices(place / group)})
