"""`mezzotint COMMAND [key=value ...]`: the one place where Hydra is started. Imports neither torch nor lightning.

Exit codes: 0 done, 1 the job failed, 2 the config or the command is wrong, 130 interrupted.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

from mezzotint.app import help
from mezzotint.app.config.arguments import (
    CONFIG,
    KEYS,
    SAVED,
    STANDALONE,
    addable,
    at_home,
    bare,
    flags_first,
    follows,
    own_configs,
    primary,
    readable,
    spoken,
    trust_of,
    value,
    vouched,
)
from mezzotint.app.config.job import Config
from mezzotint.app.config.own_data import base
from mezzotint.app.config.validate_arguments import check_words
from mezzotint.app.help import COMMANDS, config_dir, groups
from mezzotint.app.terminal import printable, unbroken
from mezzotint.errors import ConfigError, DataError, MezzotintError, mendable
from mezzotint.instantiate.locate import did_you_mean
from mezzotint.instantiate.trust import Trust, reach, trusting
from mezzotint.runs import RunDir
from mezzotint.signals import REQUEUE_SIGNALS, install_handlers, restore_handlers

OWN_WORDS = ("plot", "runs", "report", "sweep", "compare", "sync")  # commands that are no job of one config
PLACES = ("MEZZOTINT_RUNS", "MEZZOTINT_DATA", "MEZZOTINT_CACHE")


def main(argv: Sequence[str] | None = None) -> int:
    with unbroken() as lost:
        code = dispatch(list(sys.argv[1:] if argv is None else argv))
    if lost and not code:
        return refuse(f"what it had to say could not be written ({lost[0]}); all that it did is done", code=1)
    return code


def dispatch(words: list[str]) -> int:
    for name in [name for name in PLACES if os.environ.get(name) == ""]:  # as if it were not set
        del os.environ[name]
    if words[:1] in (["-sc"], ["--shell-completion"]):
        import_module("mezzotint.app.completion").complete(words)
        return 0
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    if not words or words[0] in ("-h", "--help"):
        print(help.overview())
        return 0
    if words[0] in ("-V", "--version"):
        print(help.version())
        return 0
    command, rest = words[0], words[1:]
    if command not in COMMANDS:
        return refuse(f"no command {command!r}{did_you_mean(command, COMMANDS)} ({', '.join(COMMANDS)})")
    if {"-h", "--help"} & set(rest):
        own = own_configs(rest)
        print(help.asked(rest, own) or help.of(command, own))
        return 0
    return attempt(command, rest)


def refuse(message: str, command: str = "", code: int = 2) -> int:
    print(printable(f"mezzotint{f' {command}' if command else ''}: {message}"), file=sys.stderr)
    return code


def attempt(command: str, overrides: list[str]) -> int:
    """Run a command and turn what a user can mend into one line; a fault of ours keeps its traceback."""
    heard = (
        install_handlers(REQUEUE_SIGNALS) if command == "train" else ()
    )  # before torch is imported, which takes seconds
    try:
        prepare()
        run(command, overrides)
    except KeyboardInterrupt:
        return refuse("stopped", command, 130)
    except SystemExit as end:  # --hydra-help has been printed, or a complaint of its parser
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception as error:
        known = explained(error, command, overrides)
        if known is None:
            traceback.print_exc()
            return 1
        return refuse(str(known), command, 2 if isinstance(known, (ConfigError, DataError)) else 1)
    finally:
        restore_handlers(heard)
    return 0


def explained(error: Exception, command: str, overrides: Sequence[str]) -> MezzotintError | None:
    """The error as what a user can mend, if it is that."""
    if known := mendable(error):
        return known
    if ended := import_module("mezzotint.app.launch.job_queue").lost(error):
        return ended
    message = import_module("mezzotint.app.error_messages").explain(error, command, overrides)
    return None if message is None else ConfigError(message)


def prepare() -> None:
    """Let Hydra raise instead of printing and exiting.

    Raises:
        ConfigError: the present folder is gone.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        os.getcwd()
    except FileNotFoundError:
        raise ConfigError("the folder that you are in is gone: go to another one") from None


# ---------------------------------------------------------------------------------------------------------------- Hydra


def run(command: str, words: list[str]) -> None:
    words, rule = trust_of(words)
    if command in OWN_WORDS:
        with trusting(replace(rule, strict=True, paths=vouched({}, {}, words))):
            import_module(f"mezzotint.app.commands.{command}").main(words)
    else:
        pairs = pairwise(["", *words])  # the value of an option, such as a folder with = in its name, stays as it is
        told = [word if follows(last, word) else readable(addable(at_home(bare(word)))) for last, word in pairs]
        run_hydra(command, flags_first(told), rule)


def run_hydra(command: str, overrides: list[str], rule: Trust) -> None:
    import hydra

    modes = value("sweep", overrides), value("hydra.mode", overrides) == "MULTIRUN"
    many = bool({"-m", "--multirun"} & set(overrides)) or any(modes)
    check_words(overrides, many, own_configs(overrides))
    import_module("mezzotint.app.launch.ranks").check_environment()
    name, module, directory = primary(command, overrides), f"mezzotint.app.commands.{command}", value("run", overrides)
    saved: Config | None = None
    if name == STANDALONE:
        if many:
            raise ConfigError("-m is for runs: give run=DIR, or one command after the other")
        module = module if command == "stats" else "mezzotint.app.commands.evaluate_images"
    elif name == SAVED:
        if many and command == "train":
            raise ConfigError("-m and run= exclude each other: one run goes on in one directory")
        saved = compose_from_run(pointed(Path(directory)), command)
        overrides = [word for word in overrides if not word.lstrip("+").startswith("run=")]
    else:
        overrides = [*overrides, *base(overrides)]
    theirs = any(word.lstrip("+").startswith(("hydra", "--config", "-c")) for word in overrides)  # their file may sweep
    refused: list[Exception] = []
    sweeps, jobs = (import_module(f"mezzotint.app.launch.{room}") for room in ("hydra_hooks", "sweep_jobs"))
    sweep = jobs.begin()

    def task(config: Any) -> Any:
        import_module("mezzotint.app.launch.hydra_hooks").leave_with_parent()
        with sweep.job() as job:
            if job and command != "train" and directory:
                print(import_module("mezzotint.app.launch.sweep_jobs").place(Path(directory)), flush=True)
            return work(config)

    def work(config: Any) -> Any:
        from hydra.core.hydra_config import HydraConfig

        words = spoken()
        try:
            if command == "check":  # before torch is imported, which takes seconds
                print(f"{config.get('name')}: building and trying the parts, timing two steps of training", flush=True)
            with trusting(rule if saved is None else judging(replace(rule, run=directory), config, saved, words)):
                return import_module(module).main(config)
        except Exception as error:
            known = explained(error, command, overrides)
            if known is None:
                raise
            if HydraConfig.get().mode.name != "MULTIRUN":  # raised in a job, Hydra would add lines of its own
                refused.append(known)
                return None
            refuse(str(known), command)
            if known is error:
                raise
            raise known from error

    sweeps.count_gpus()
    sweeps.find_plugins()
    reach(rule.folders)
    before, sys.argv = sys.argv, [f"mezzotint {command}", *overrides]
    try:
        with nullcontext() if many or theirs else sweeps.force_single_run():
            hydra.main(config_path=str(config_dir()), config_name=name, version_base="1.3")(task)()
    finally:
        sys.argv = before
        if sweeps.sweep_started():
            finish_sweep(command, sweep)
    if refused:
        raise refused[0]


def finish_sweep(command: str, sweep: Any) -> None:
    """Sum up what there is, of a sweep that was stopped too, and remove what Hydra left: the first rank."""
    if import_module("mezzotint.app.launch.ranks").rank():
        return
    sweeps = import_module("mezzotint.app.launch.hydra_hooks")
    import_module("mezzotint.app.launch.job_queue").close()
    points, told = sweeps.points(), sweep.close()
    sweeps.remove_empty_sweep_dirs()
    if told and (command == "train" or any(job.state != "done" for job in told)):
        import_module("mezzotint.app.commands.sweep").conclude(sweep.keys, told, command == "train")
    if points:
        import_module("mezzotint.app.results.sweep_summary").summarise(points)


def pointed(directory: Path) -> Path:
    """What a link such as runs/latest leads to now: to another run, perhaps, before the command is done."""
    return directory.parent / directory.readlink() if directory.is_symlink() else directory


def compose_from_run(directory: Path, command: str) -> Config:
    """Let a run's config be the primary config, each of its groups the choice `_run_` of that group; what it says.

    So `sampler=ddim` replaces the group whole, without leftovers, and `grid.steps=20` changes one value of it. What it
    says are plain values: nothing in it is resolved, and nothing of it is for Hydra.

    Raises:
        ConfigError: it is another thing than a run's config.
    """
    import yaml
    from hydra.core.config_store import ConfigStore

    from mezzotint.app.config.job import FREE, literal, relocatable
    from mezzotint.app.config.job import defaults as usual

    run = RunDir(directory)
    read = run.config()
    if not isinstance(read.get("network"), dict):
        raise ConfigError(
            f"{directory} is not a run: its {run.config_file.name} is another thing; `mezzotint runs` lists those that "
            "exist"
        )
    if strange := [key for key in read if key not in KEYS]:
        raise ConfigError(f"{run.config_file}: {strange[0]!r} is no key of a run's config")
    saved = usual() | relocatable(literal(read))  # a word that the run had never heard of
    saved |= {"out": None, "label": None}  # of one command; a run that says where to write does not come from us
    if command == "sample":
        saved["n"] = None  # it said how many to judge
    ours = yaml.safe_load((config_dir() / f"{CONFIG}.yaml").read_text())
    hydra_node, store = ours["hydra"], ConfigStore.instance()
    choices = {key: choice for item in ours["defaults"] if isinstance(item, dict) for key, choice in item.items()}
    unsaid = sorted(groups() & choices.keys() & set(FREE) - read.keys())  # as in what `fit` writes
    defaults: list[Any] = [{key: choices[key]} for key in unsaid]
    saved = {key: value for key, value in saved.items() if key not in unsaid}
    for key in sorted(saved.keys() & groups()):
        store.store(group=key, name=SAVED, node={key: saved.pop(key)}, package="_global_")
        defaults.append({key: SAVED})
    hydra_node["sweep"]["dir"] = str(run.sweep)
    defaults += ["_self_", {"override hydra/job_logging": "none"}, {"override hydra/hydra_logging": "none"}]
    node = {**saved, "run": literal(str(directory)), "defaults": defaults, "hydra": hydra_node}
    store.store(name=SAVED, node=node)
    return read


def judging(rule: Trust, config: Any, saved: Config, words: Sequence[str]) -> Trust:
    """The rule for a config that was composed from a run's own."""
    from omegaconf import OmegaConf

    composed: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    return replace(rule, strict=True, paths=vouched(composed, saved, words))
