"""`mezzotint COMMAND [key=value ...]`: the one place where Hydra is started. Imports neither torch nor lightning.

Exit codes: 0 done, 1 the job failed, 2 the config or the command is wrong, 130 interrupted.
"""

import os
import re
import sys
import traceback
from collections.abc import Iterable, Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

from mezzotint.app import help
from mezzotint.app.config.words import WITH_VALUE, check_words
from mezzotint.app.help import COMMANDS, config_dir, groups
from mezzotint.app.terminal import unbroken
from mezzotint.build import read_config
from mezzotint.errors import ConfigError, DataError, MezzotintError
from mezzotint.names import nearest
from mezzotint.training.signals import AGAIN, forget, listen

CONFIG, STANDALONE = "mezzotint", "standalone"
OWN_WORDS = ("plot", "runs", "report", "sweep", "compare", "sync")  # commands that are no job of one config
MODULES = {"runs": "listing"}  # where a command's name is another thing's
SAVED = "_run_"  # the choice, in each group, that a run's own config.yaml makes


def main(argv: Sequence[str] | None = None) -> int:
    with unbroken():
        return dispatch(list(sys.argv[1:] if argv is None else argv))


def dispatch(words: list[str]) -> int:
    if words[:1] in (["-sc"], ["--shell-completion"]):
        import_module("mezzotint.app.completion").complete(words)
        return 0
    if not words or words[0] in ("-h", "--help", "help"):
        print(help.overview())
        return 0
    if words[0] in ("-V", "--version"):
        print(help.version())
        return 0
    command, rest = words[0], words[1:]
    if command not in COMMANDS:
        return refuse(f"no command {command!r}{nearest(command, COMMANDS)} ({', '.join(COMMANDS)})")
    if {"-h", "--help"} & set(rest):
        print(help.of(command, own_configs(rest)))
        return 0
    return attempt(command, rest)


def refuse(message: str, command: str = "", code: int = 2) -> int:
    print(f"mezzotint{f' {command}' if command else ''}: {message}", file=sys.stderr)
    return code


def attempt(command: str, overrides: list[str]) -> int:
    """Run a command and turn what a user can mend into one line; a fault of ours keeps its traceback."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra raises instead of printing and exiting
    find_own_classes(overrides)
    heard = listen(AGAIN) if command == "train" else ()  # before torch is imported, which takes seconds
    try:
        run(command, overrides)
    except KeyboardInterrupt:
        return refuse("stopped", command, 130)
    except (ConfigError, DataError) as error:
        return refuse(str(error), command)
    except MezzotintError as error:
        return refuse(str(error), command, 1)
    except Exception as error:
        message = explain(error, command, overrides)
        if message is None:
            traceback.print_exc()
            return 1
        return refuse(message, command)
    finally:
        forget(heard)
    return 0


def find_own_classes(overrides: Sequence[str]) -> None:
    """Let `_target_: mine.Network` be found beside the caller, behind what is installed, so that nothing is hidden."""
    for place in (os.getcwd(), *own_configs(overrides)):
        if place not in sys.path:
            sys.path.append(place)


def own_configs(overrides: Sequence[str]) -> list[str]:
    """The folder of `--config-dir DIR` or `--config-dir=DIR`, if one is given."""
    apart = [after for word, after in pairwise([*overrides, ""]) if word in ("--config-dir", "-cd")]
    found = apart + [word.partition("=")[2] for word in overrides if word.startswith("--config-dir=")]
    return [os.path.abspath(folder) for folder in found]


def at_home(word: str) -> str:
    """A shell expands ~ only at the start of a word, and not in paths.data=~/images."""
    key, equals, value = word.partition("=")
    return f"{key}={Path(value).expanduser()}" if equals and value.startswith("~/") else word


def bare(word: str) -> str:
    """Let what plans a sweep write --optimizer.lr=0.1; the flags of Hydra stay flags."""
    return word[2:] if re.match(r"--\w[\w.]*=", word) and word.partition("=")[0] not in WITH_VALUE else word


def addable(word: str) -> str:
    """Let network.resample=residual be said though the file leaves it out: the signature decides, not the file."""
    group, dot, _ = word.partition("=")[0].partition(".")
    return f"++{word}" if dot and group in groups() else word


def flags_first(words: Sequence[str]) -> list[str]:
    """argparse takes `-m a=1 b=2` but not `a=1 -m b=2`."""
    flags, overrides, waiting = [], [], False
    for word in words:
        (flags if waiting or word.startswith("-") else overrides).append(word)
        waiting = not waiting and word in WITH_VALUE
    return flags + overrides


# ---------------------------------------------------------------------------------------------------------------- Hydra


def run(command: str, words: list[str]) -> None:
    if command in OWN_WORDS:
        import_module(f"mezzotint.app.{MODULES.get(command, command)}").main(words)
    else:
        run_hydra(command, flags_first([addable(at_home(bare(word))) for word in words]))


def run_hydra(command: str, overrides: list[str]) -> None:
    import hydra

    many = bool({"-m", "--multirun"} & set(overrides)) or any(word.startswith("sweep=") for word in overrides)
    check_words(overrides, many, own_configs(overrides))
    directory = value("run", overrides)
    module = f"mezzotint.app.{command}"
    if standalone(command, overrides):
        if many:
            raise ConfigError("-m is for runs: give run=DIR, or one command after the other")
        name, module = STANDALONE, module if command == "stats" else "mezzotint.app.folders"
    elif directory:
        if many and command == "train":
            raise ConfigError("-m and run= exclude each other: one run goes on in one directory")
        compose_from_run(Path(directory), command)
        overrides, name = [word for word in overrides if not word.startswith("run=")], SAVED
    else:
        name = CONFIG
    refused: list[Exception] = []

    def task(config: Any) -> Any:
        try:
            return import_module(module).main(config)
        except MezzotintError as error:
            if not many:  # raised in a job, Hydra would add lines of its own
                refused.append(error)
                return None
            refuse(str(error), command)
            raise

    import_module("mezzotint.app.processes.sweeps").count_gpus()
    before, sys.argv = sys.argv, [f"mezzotint {command}", *overrides]
    try:
        hydra.main(config_path=str(config_dir()), config_name=name, version_base="1.3")(task)()
    finally:
        sys.argv = before
        if many:
            finish_sweep()
    if refused:
        raise refused[0]


def finish_sweep() -> None:
    """Sum up the evaluations there are, of a sweep that was stopped too, and remove what Hydra left: the first rank."""
    if import_module("mezzotint.app.processes.ranks").rank():
        return
    sweeps = import_module("mezzotint.app.processes.sweeps")
    points = sweeps.points()
    sweeps.tidy()
    if points:
        import_module("mezzotint.app.records.points").summarise(points)


def value(key: str, overrides: Iterable[str]) -> str:
    """What the words say of a key, the last of them; nothing where that is null."""
    said = [word.partition("=")[2] for word in overrides if word.startswith(f"{key}=")]
    return said[-1] if said and said[-1] != "null" else ""


def standalone(command: str, overrides: Sequence[str]) -> bool:
    """Whether images are judged, or looked at, that no run has drawn: `evaluate images=DIR`, `stats`."""
    if command != "evaluate":
        return command == "stats"
    images = value("images", overrides)
    if value("run", overrides) and images not in ("", "none", "png", "npz"):
        raise ConfigError(
            "run= and images= exclude each other: evaluate judges what a run draws, or images of a folder"
        )
    return bool(images) and not value("run", overrides)


def compose_from_run(directory: Path, command: str) -> None:
    """Let a run's config.yaml be the primary config, each of its groups the choice `_run_` of that group.

    So `sampler=ddim` replaces the group whole, without leftovers, and `grid.steps=20` changes one value of it.
    """
    import yaml
    from hydra.core.config_store import ConfigStore

    from mezzotint.app.config.job import defaults as usual
    from mezzotint.app.config.job import relocatable

    saved = usual() | relocatable(read_config(directory))  # a word that the run had never heard of
    if command == "sample":
        saved["n"] = None  # it said how many to judge
    store, defaults = ConfigStore.instance(), []
    for key in sorted(saved.keys() & groups()):
        store.store(group=key, name=SAVED, node={key: saved.pop(key)}, package="_global_")
        defaults.append({key: SAVED})
    hydra_node = yaml.safe_load((config_dir() / f"{CONFIG}.yaml").read_text())["hydra"]
    hydra_node["sweep"]["dir"] = str(directory / "sweep")
    defaults += ["_self_", {"override hydra/job_logging": "none"}, {"override hydra/hydra_logging": "none"}]
    node = {"defaults": defaults, **saved, "run": str(directory), "hydra": hydra_node}
    store.store(name=SAVED, node=node)


# --------------------------------------------------------------------------------------------------------------- errors


def explain(error: Exception, command: str, overrides: Sequence[str]) -> str | None:
    """One line for what a user can mend; None for everything else."""
    from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, choice = (error.missing_cfg_file or "").rpartition("/")
        choices = sorted(option for option in error.options if option != SAVED)
        return f"{group}={choice}: no such choice{nearest(choice, choices)} ({', '.join(choices)})"
    if isinstance(error, PermissionError) and error.filename:
        return f"{error.filename}: permission denied; choose another place by paths.runs=, paths.cache= or data.root="
    text = str(error)
    bad = re.search(r"Could not (?:override|delete|append to config).*?'([^']+)'", text)
    if isinstance(error, ConfigCompositionException) and bad:
        key = bad.group(1).partition("=")[0].lstrip("+~")
        if key.partition(".")[0] in ("experiment", "debug", "sweep") and any(
            word.startswith("run=") for word in overrides
        ):
            return f"{key}= and run= exclude each other: a run has its whole config"
        return f"no key {key!r}{nearest(key, known_keys(command, overrides))}"
    ours = isinstance(error, ValueError) and "Config group override must be" in text
    if ours or isinstance(error, (HydraException, OmegaConfBaseException)):
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        return " ".join(dict.fromkeys(line.strip() for line in f"{text}{cause}".splitlines() if line.strip()))
    return None


def known_keys(command: str, overrides: Sequence[str]) -> list[str]:
    """Every key of the config that the chosen groups compose to, for the nearest-name hint."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    GlobalHydra.instance().clear()
    name = STANDALONE if standalone(command, overrides) else SAVED if value("run", overrides) else CONFIG
    known = groups() | {"experiment", "debug", "sweep"}
    chosen = [word for word in overrides if word.partition("=")[0] in known and "," not in word]
    own = ",".join(f"file://{folder}" for folder in own_configs(overrides))
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            return keys_of(OmegaConf.to_container(compose(name, [*chosen, f"hydra.searchpath=[{own}]"])))
    except Exception:  # something else is wrong too, and is told after this is mended
        return sorted(known)


def keys_of(node: Any, prefix: str = "") -> list[str]:
    if not isinstance(node, dict):
        return []
    return [key for name, value in node.items() for key in (f"{prefix}{name}", *keys_of(value, f"{prefix}{name}."))]
