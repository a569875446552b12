"""Command-line arguments: their rewriting for Hydra, and their meaning."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

from mezzotint.app.config.job import Config, Job
from mezzotint.app.help import groups
from mezzotint.errors import ConfigError
from mezzotint.instantiate.build import targets
from mezzotint.instantiate.trust import Trust
from mezzotint.plain_data import as_list, as_text

CONFIG, STANDALONE = "mezzotint", "standalone"  # files of configs/
SAVED = "_run_"  # the choice, in each group, that a run's own config.yaml makes
SYNTAX = ("[", "{", "'", '"')  # with which a value begins that is written in Hydra's own terms
NUMBER = re.compile(r"[+-]?[\d._]+(e[+-]?\d+)?|true|false|inf|nan", re.IGNORECASE)
QUOTED = re.compile(r"""(['"])(.*)\1""", re.DOTALL)
TEXT = (
    "name",
    "init",
    "reference",
    "images",
    "out",
    "data.root",
    "paths.runs",
    "paths.data",
    "paths.cache",
)  # never numbers
KEYS = {item.name for item in fields(Job)}
SETTINGS = ("experiment", "debug", "sweep")  # folders of configs/ that set several groups
MEANT = {"metrics.weights": "extractor.weights"}  # a metric has none but its extractor's
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


# ------------------------------------------------------------------------------------------------- rewriting for Hydra


def at_home(word: str) -> str:
    """Expand ~ in key=~/path, where a shell does not."""
    key, equals, path = word.partition("=")
    return f"{key}={Path(path).expanduser()}" if equals and path.startswith("~/") else word


def bare(word: str) -> str:
    """Accept --optimizer.lr=0.1, as sweep planners write it; Hydra's own options stay options."""
    return word[2:] if re.match(r"--\w[\w.]*=", word) and word.partition("=")[0] not in WITH_VALUE else word


def addable(word: str) -> str:
    """Allow network.resample=residual though the file leaves it out: the signature decides, not the file.

    So a + before a key or a group that we have ourselves, a habit from other programs, means nothing.
    """
    plain = word.lstrip("+")
    key, equals, said = plain.partition("=")
    if key in MEANT:
        return f"++{MEANT[key]}={said}"
    group, dot, _ = key.partition(".")
    if not equals or key in groups() or key in SETTINGS:
        return plain
    if word != plain:
        return f"++{plain}" if dot or key in KEYS else word
    return f"++{plain}" if dot and group in groups() else plain


def readable(word: str) -> str:
    """Quote a value that Hydra cannot parse, such as a path with = or ' or an umlaut in it.

    And a name that is a number stays a name. A run is found before Hydra is asked, and stays as it is too.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    key, equals, said = word.partition("=")
    plain = key.lstrip("+")
    if word.startswith("-") or not equals or plain == "run" or said.startswith(SYNTAX) or "${" in said:
        return word
    if plain in TEXT and NUMBER.fullmatch(said):
        return f"{key}='{said}'"
    try:
        OverridesParser.create().parse_override(word)
    except HydraException:
        parts = said.split(",")
        return f"{key}={','.join(map(quoted, parts))}" if all(parts) else word
    return word


def quoted(text: str) -> str:
    """Put a text in single quotes, doubling backslashes before a quote and at the end."""
    marked = re.sub(r"\\+(?='|$)", lambda found: 2 * found[0], text)
    return "'" + marked.replace("'", r"\'") + "'"


def follows(option: str, word: str) -> bool:
    """Return True if a word is the value of the option before it."""
    known = next((values for options, values in VALUES.items() if option in options), None)
    return known is not None and (not known or word in known)


def flags_first(words: Sequence[str]) -> list[str]:
    """Move options before overrides: argparse accepts `-m a=1 b=2` but not `a=1 -m b=2`, and needs --info=all."""
    flags, overrides, waiting = [], [], False
    for word, after in pairwise([*words, ""]):
        whole = word in ("--info", "-i") and after not in VALUES["--info", "-i"]
        (flags if waiting or word.startswith("-") else overrides).append("--info=all" if whole else word)
        waiting = not waiting and not whole and word in WITH_VALUE
    return flags + overrides


# ------------------------------------------------------------------------------------------------------- their meaning


def primary(command: str, words: Sequence[str]) -> str:
    """Return the primary config: a run's own, that of commands without a run, or the default one.

    `evaluate images=DIR` and `stats` work on images without a run.
    """
    run, images = value("run", words), value("images", words)
    if command == "stats" or (command == "evaluate" and images and not run):
        return STANDALONE
    if command == "evaluate" and run and images not in ("", "none", "png", "npz"):
        raise ConfigError("run= and images= exclude each other: evaluate takes samples of a run, or images of a folder")
    return SAVED if run else CONFIG


def value(key: str, words: Iterable[str]) -> str:
    """Return the value of a key's last occurrence, without quotes; empty if it is null or absent."""
    said = [word.partition("=")[2] for word in words if word.lstrip("+").startswith(f"{key}=")]
    if not said or said[-1] == "null":
        return ""
    inside = QUOTED.fullmatch(said[-1])
    return inside[2] if inside else said[-1]


def trust_of(words: Sequence[str]) -> tuple[list[str], Trust]:
    """Return the words without trust=[PACKAGE,...], and the trust that they and --config-dir DIR grant.

    Raises:
        ConfigError: what is to be trusted is no package.
    """
    said = value("trust", words)
    packages = tuple(name.strip() for name in said.strip("[]").split(",") if name.strip())
    for name in packages:
        if not all(part.isidentifier() for part in name.split(".")) or name.partition(".")[0] == "mezzotint":
            raise ConfigError(f"trust={said}: give the names of packages beside mezzotint, such as trust=[mine]")
    folders = tuple(own_configs(words))
    rest = [word for word in words if not word.lstrip("+").startswith("trust=")]
    return rest, Trust(packages=packages, folders=folders, here=(os.getcwd(), *folders))


def spoken() -> list[str]:
    """Return the arguments of a job as they were given; iterating Hydra's list would resolve interpolations."""
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    return as_list(OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False))


def spoken_keys() -> list[str]:
    """Return the keys that the job's command line sets; none of a config that was composed without a command."""
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return []
    return [word.lstrip("+").partition("=")[0] for word in spoken()]


def vouched(composed: Config, saved: Config, words: Sequence[str]) -> tuple[str, ...]:
    """Return the `_target_`s of a composed config that come from the command line and not from the run."""
    before = set(pairs_of(saved))
    typed = {value(word.lstrip("+").partition("=")[0], [word]) for word in words if "_target_=" in word}
    brought = {path for where, path in pairs_of(composed) if (where, path) not in before}
    return tuple(sorted(typed | brought))


def pairs_of(config: Config) -> list[tuple[str, str]]:
    return [(where, path) for where, path in targets(config) if as_text(path)]


def own_configs(words: Sequence[str]) -> list[str]:
    """The folder of `--config-dir DIR` or `--config-dir=DIR`, if one is given."""
    apart = [after for word, after in pairwise([*words, ""]) if word in ("--config-dir", "-cd")]
    found = apart + [word.partition("=")[2] for word in words if word.startswith(("--config-dir=", "-cd="))]
    return [os.path.abspath(folder) for folder in found]
