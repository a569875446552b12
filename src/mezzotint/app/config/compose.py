"""The config that Hydra composes for a command: the default one, a run's own or one without a run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

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
    value,
    vouched,
)
from mezzotint.app.config.job import EDITED, FREE, PLACES, Config, defaults, literal, relocatable
from mezzotint.app.config.own_data import base
from mezzotint.app.config.validate_arguments import check_words
from mezzotint.app.help import config_dir, groups
from mezzotint.errors import ConfigError
from mezzotint.instantiate.trust import Trust
from mezzotint.plain_data import as_dict, as_text, lookup
from mezzotint.runs import RunDir


@dataclass(frozen=True)
class Composition:
    """The primary config of a command and the words that Hydra lays over it.

    Args:
        module: of the command's `main`, by its name in `app/commands`.
        name: of the primary config.
        words: options first, then overrides, as Hydra reads them.
        run: the directory given as run=; empty without one.
        saved: the config of that run.
    """

    module: str
    name: str
    words: list[str]
    run: str = ""
    saved: Config | None = None

    def trust(self, rule: Trust, config: Any, words: Sequence[str]) -> Trust:
        """Return what the composed config may name: strict where it was read from a run.

        Args:
            words: of this job.
        """
        return rule if self.saved is None else trust_of_run(replace(rule, run=self.run), config, self.saved, words)


def composition(command: str, words: Sequence[str]) -> Composition:
    """Choose the primary config for a command line, and check the words before Hydra sees them. Raises ConfigError."""
    words = hydra_words(words)
    many = bool({"-m", "--multirun"} & {*words}) or bool(value("sweep", words))
    many = many or value("hydra.mode", words) == "MULTIRUN"
    check_words(words, many, own_configs(words))
    name, run = primary(command, words), value("run", words)
    if name == STANDALONE:
        if many:
            raise ConfigError("-m is for runs: give run=DIR, or one command after the other")
        return Composition("stats" if command == "stats" else "evaluate_images", name, words, run)
    if name == SAVED:
        if many and command == "train":
            raise ConfigError("-m and run= exclude each other: a run is resumed in its own directory")
        saved = compose_from_run(pointed(Path(run)), command, words)
        rest = [word for word in words if not word.lstrip("+").startswith("run=")]
        return Composition(command, name, rest, run, saved)
    return Composition(command, name, [*words, *base(words)], run)


def hydra_words(words: Sequence[str]) -> list[str]:
    """Return a command line as Hydra reads it: options first, values quoted, keys that no file has added."""

    def rewritten(option: str, word: str) -> str:
        """Leave the value of an option unchanged, such as a folder with = in its name."""
        return word if follows(option, word) else readable(addable(at_home(bare(word))))

    return flags_first([rewritten(last, word) for last, word in pairwise(["", *words])])


def pointed(directory: Path) -> Path:
    """Resolve a link such as runs/latest once: it may point to another run before the command is done."""
    return directory.parent / directory.readlink() if directory.is_symlink() else directory


def compose_from_run(directory: Path, command: str, words: Sequence[str] = ()) -> Config:
    """Store a run's config.yaml as the primary config, each of its groups as the choice `_run_`; return its content.

    `sampler=ddim` then replaces the group without leftovers, and `grid.steps=20` changes one value of it. The content
    is plain values: no interpolation in it is resolved, and nothing in it configures Hydra.

    Args:
        words: overrides of the command line.

    Raises:
        ConfigError: the file is not a run's config, or names a folder to download data to.
    """
    import yaml
    from hydra.core.config_store import ConfigStore

    run = RunDir(directory)
    read = run.config()
    if not as_dict(read.get("network")):
        raise ConfigError(
            f"{directory} is not a run: its {run.config_file.name} is not the config of a run; `mezzotint runs` lists "
            "those that exist"
        )
    if strange := [key for key in read if key not in KEYS]:
        raise ConfigError(f"{run.config_file}: {strange[0]!r} is not a key of a run's config")
    saved = defaults() | relocatable(literal(read))  # defaults for keys that are newer than the run
    # Of one command; a config that says where to write is not one of ours.
    saved |= dict.fromkeys(("out", "label", "condition", *EDITED))
    saved |= {"paths": present_paths(read.get("paths"), directory)}
    refuse_download_folder(saved, directory, words)
    refuse_url(saved, directory, words)
    if command in ("sample", "edit"):
        saved["n"] = None  # it was the number of images to evaluate
    ours = yaml.safe_load((config_dir() / f"{CONFIG}.yaml").read_text())
    hydra_node, store = ours["hydra"], ConfigStore.instance()
    choices = {key: choice for item in ours["defaults"] for key, choice in as_dict(item).items()}
    unsaid = sorted(groups() & choices.keys() & set(FREE) - read.keys())  # as in what `fit` writes
    chosen: list[Any] = [{key: choices[key]} for key in unsaid]
    saved = {key: value for key, value in saved.items() if key not in unsaid}
    for key in sorted(saved.keys() & groups()):
        store.store(group=key, name=SAVED, node={key: saved.pop(key)}, package="_global_")
        chosen.append({key: SAVED})
    hydra_node["sweep"]["dir"] = str(run.sweep)
    chosen += ["_self_", {"override hydra/job_logging": "none"}, {"override hydra/hydra_logging": "none"}]
    store.store(name=SAVED, node={**saved, "run": literal(str(directory)), "defaults": chosen, "hydra": hydra_node})
    return read


def present_paths(saved: Any, directory: Path) -> Any:
    """Return `paths` of the present user for a run whose config says `saved`.

    A run may come from elsewhere, so its config does not decide where files are written. The folder of runs is kept
    where the run still lies in it.
    """
    import yaml

    if not as_dict(saved):
        return saved  # compared with `Paths` like every group
    ours = yaml.safe_load((config_dir() / "paths" / "default.yaml").read_text())
    parent = directory.resolve().parent
    above = {parent, parent.parent} if (parent / "multirun.yaml").is_file() else {parent}
    runs = as_text(saved.get("runs"))
    if runs and Path(runs).resolve() in above:
        ours["runs"] = literal(runs)
    return literal(saved) | {key: ours[key] for key in PLACES}


def refuse_download_folder(saved: Config, directory: Path, words: Sequence[str]) -> None:
    """Refuse a run that names a folder of its own to download data to. Raises ConfigError."""
    folder = lookup(saved, "data", "cache")
    parts = Path(as_text(folder)).parts
    below = parts[:1] == ("${paths.data}",) and ".." not in parts
    if folder is None or below or any(value(key, words) for key in ("data", "data.cache")):
        return
    raise ConfigError(
        f"{RunDir(directory).config_file}: data.cache={folder} would be written to, and a saved run does not decide "
        f"that; if you want it, say data.cache={folder} here, or data.root=DIR of files that are there"
    )


def refuse_url(saved: Config, directory: Path, words: Sequence[str]) -> None:
    """Refuse a run that names a URL of data that was never downloaded here. Raises ConfigError."""
    root = as_text(lookup(saved, "data", "root"))
    if "://" not in root or any(value(key, words) for key in ("data", "data.root")):
        return
    from omegaconf import OmegaConf

    from mezzotint.data.containers.remote import folder_of

    usual = OmegaConf.select(OmegaConf.load(config_dir() / "paths" / "default.yaml"), "data")
    if not folder_of(root, Path(value("paths.data", words) or usual).expanduser()).is_dir():
        raise ConfigError(
            f"{RunDir(directory).config_file}: data.root={root} would be downloaded, and a saved run does not decide "
            f"that; if you want it, say data.root={root} here"
        )


def trust_of_run(rule: Trust, config: Any, saved: Config, words: Sequence[str]) -> Trust:
    """Return the rule for a config that was composed from a run's own."""
    from omegaconf import OmegaConf

    composed: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    return replace(rule, strict=True, paths=vouched(composed, saved, words))
