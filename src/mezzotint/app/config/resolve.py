"""From Hydra's config to a checked `Job` or `Standalone`: interpolations resolved, paths absolute, types compared."""

import os
import re
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

from mezzotint.app.config.arguments import spoken_keys
from mezzotint.app.config.array_data import find_array
from mezzotint.app.config.derived import shrink_network, written_out
from mezzotint.app.config.job import EDITED, GROUPS, LISTS, PLACES, SPLITS, Config, Job, Node, defaults, literal
from mezzotint.app.config.latent_data import find_latents
from mezzotint.app.config.standalone import Standalone
from mezzotint.app.help import taken_by
from mezzotint.data.index.place import use_cache
from mezzotint.errors import ConfigError
from mezzotint.finite import IMMENSE, immense
from mezzotint.instantiate.build import build, check_part
from mezzotint.instantiate.locate import did_you_mean
from mezzotint.instantiate.type_hints import format_type, format_value, matches
from mezzotint.plain_data import as_dict, as_text, lookup, number
from mezzotint.runs import RunDir

FILES = (
    "data.root",
    "data.source.root",
    "extractor.weights",
    "guidance.weak.directory",
    "codec.directory",
    "codec.run",
)  # files and folders that parts read
FOLDER = "mezzotint.data.ImageFolder"  # the dataset whose class folders are counted
CONTAINERS = tuple(f"mezzotint.data.{name}Images" for name in ("Zip", "Tar", "Parquet", "LMDB"))  # and whose labels are
LOCATED = ("root", "cache", "image", "label", "caption")  # arguments of datasets by which classes are found
SNAPSHOTS = "mezzotint.training.PowerEMA"  # averages of which other lengths can be made
LAID_OVER = "the file begins with the line `# @package _global_`, or what it says is not found"
PROVIDED = {"objective": ("times", "weight", "loss"), "guidance": ("inner",), "metrics": ("extractor",)}

Resolved = TypeVar("Resolved", Job, Standalone)


def settle(config: Any, without: Sequence[str] = ()) -> Job:
    """Return the job of Hydra's config with every node compared with the signature of its `_target_`.

    Args:
        without: groups that the command does not use; their classes are not imported.

    Raises:
        ConfigError: lists every problem.
    """
    job = with_length(resolve(config))
    check_groups(job, without)
    return job


def with_length(job: Job) -> Job:
    """Take ema.std=0.075 of a trained run as the length of the average to sample, made of the run's snapshots."""
    saved = RunDir(Path(job.run)).config().get("ema") if job.run else None
    std = number((job.ema or {}).get("std"))
    if not saved or saved.get("_target_") != SNAPSHOTS or std in (None, saved.get("std")):
        return job
    return replace(job, ema=saved, weights=f"std{std:g}")


def settle_standalone(config: Any) -> Standalone:
    """Return the checked config of a command without a run; a path in `reference` is absolute without data, too."""
    job = resolved(config, Standalone)
    check_groups(job)
    if job.data is None and job.reference is not None:  # a folder, even one named like a split
        return replace(job, reference=absolute(job.reference))
    return job


def resolve(config: Any) -> Job:
    """Return the job of Hydra's config: interpolations resolved, paths absolute, the top level checked."""
    job = written_out(resolved(config, Job))
    if job.init and not job.run:  # a run that goes on keeps the words it was begun with
        job = replace(job, init=pointed(job.init))
    return replace(job, weights="raw") if job.weights == "ema" and job.ema is None else job


def resolved(config: Any, kind: type[Resolved]) -> Resolved:
    """Return the top level of Hydra's config as one call of `kind`. Raises ConfigError."""
    from omegaconf import OmegaConf

    anchor_paths(config)
    find_classes(config)
    find_array(config)
    find_latents(config)
    plain: Config = defaults(kind) | as_dict(OmegaConf.to_container(config, resolve=True))
    for key in LISTS:  # callbacks.progress=null removes it
        if nodes := as_dict(plain.get(key)):
            plain[key] = {name: node for name, node in nodes.items() if node is not None}
    if kind is Job:
        shrink_network(plain, spoken_keys())
    check_top_level(plain, kind)
    anchor(plain)
    job = kind(**plain)
    named = job.reference is None or job.reference in SPLITS
    return job if named else replace(job, reference=absolute(str(job.reference)))


def anchor_paths(config: Any) -> None:
    """Make the folders of `paths` absolute in Hydra's config, before anything interpolates them. Raises ConfigError."""
    from omegaconf import OmegaConf

    paths = config.get("paths")
    for key in (key for key in PLACES if OmegaConf.is_dict(paths) and key in paths):
        value = paths[key]
        if not as_text(value):
            raise ConfigError(f"paths.{key}={'' if value is None else value}: give a folder, such as paths.{key}=.")
        paths[key] = literal(absolute(value))
        if key == "cache":
            use_cache(absolute(value))


def check_top_level(plain: Config, kind: type) -> None:
    """Compare the top level with the fields of `kind`. Raises ConfigError: lists every problem."""
    known = {item.name: item for item in fields(kind)}
    refuse([f"{key}: {LAID_OVER}" for key in ("experiment", "debug", "sweep") if key in plain])
    refuse(
        [f"{key}: no such key{did_you_mean(key, known)}" for key in plain if key not in known]
        + [f"{key}: {IMMENSE}" for key, value in plain.items() if immense(value)]
        + [f"{key}: a value is needed; give {key}=VALUE" for key in known if plain.get(key, "???") == "???"]
        + [
            f"{key}: {format_value(value)} is not {format_type(known[key].type)}"
            for key, value in plain.items()
            if key in known and value != "???" and not matches({} if as_dict(value) else value, known[key].type)
        ]
    )
    refuse([problem for key in LISTS for problem in fragments(key, plain.get(key) or {})])
    if paths := plain.get("paths"):  # folders are checked before the parts that read them
        refuse(check_part(paths, "paths"))


def find_classes(config: Any) -> None:
    """Count the class folders or the stored labels where data.classes is open, before anything interpolates it.

    Raises:
        DataError: a container of images cannot be listed.
    """
    from omegaconf import OmegaConf

    node = OmegaConf.select(config, "data")
    target = node.get("_target_") if node else None
    if target not in (FOLDER, *CONTAINERS) or node.get("classes", 0) not in (None, "auto"):
        return
    root, names = (OmegaConf.select(node, key) for key in ("root", "names"))
    if names or root is None or (target == FOLDER and not Path(root).expanduser().is_dir()):
        node["classes"] = len(names or ())
        return
    print(f"{root}: looking for class folders", flush=True)
    where = {key: OmegaConf.select(node, key) for key in LOCATED if key in node}
    node["classes"] = build({"_target_": target, **where, "shape": [3, 1, 1]}, "data").found_classes()


def unbounded(job: Job, given: Sequence[str]) -> Job:
    """Lift the bound on the final evaluation where the user gave the number of images.

    Args:
        given: keys on the command line.
    """
    counted = {"n", "reference_images"} & set(given) and "evaluation_share" not in given
    return replace(job, evaluation_share=None) if counted else job


def anchor(config: Config) -> None:
    """Make existing paths that parts read absolute: a run is used from other folders, too."""
    for key in FILES:
        *groups, last = key.split(".")
        node = as_dict(lookup(config, *groups))
        value = as_text(node.get(last))
        if value and (os.path.exists(os.path.expanduser(value)) or is_pattern(value)):
            node[last] = absolute(value)


def is_pattern(path: str) -> bool:
    """Return whether a path stands for several files, such as a-{00..11}.tar."""
    return path != "???" and "://" not in path and any(mark in path for mark in "*?{")


def pointed(path: str) -> str:
    """Return an absolute path, of a link such as runs/latest the run that it leads to now."""
    place = Path(absolute(path))
    return str(place.parent / place.readlink() if place.is_symlink() else place)


def absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def refuse_drawing(job: Job, label: str, condition: str) -> None:
    """Refuse keys that only `sample` takes.

    Args:
        label, condition: what the command does about them, for the message.
    """
    if job.label is not None:
        raise ConfigError(f"label= is for sample: {label}")
    if job.condition is not None:
        raise ConfigError(f"condition= is for sample: {condition}")
    if job.out is not None:
        raise ConfigError("out= is for sample, edit and commands without a run; other results are written to the run")


def refuse_editing(job: Job) -> None:
    """Refuse keys that only `edit` takes. Raises ConfigError."""
    config = job.as_dict()
    if given := [key for key in EDITED if config[key] is not None]:
        raise ConfigError(f"{given[0]}= is for edit: mezzotint edit run=DIR task=inpaint")


def check_groups(job: Job | Standalone, without: Sequence[str] = ()) -> None:
    """Compare every node with the signature of its `_target_`. Raises ConfigError: lists every problem."""
    problems = []
    for key, value in job.as_dict().items():
        if key in LISTS and key not in without:
            for name, node in value.items():
                problems += check_part(node, f"{key}.{name}", PROVIDED.get(key, ()))
        elif key in GROUPS and key not in without and value is not None:
            problems += check_group(key, value)
    refuse(problems)


def check_group(key: str, node: Node) -> list[str]:
    """Return the errors of the node of a group of one choice."""
    if "_target_" not in node:
        return [f"{key}: it has no _target_; choose a {key}= or write a complete node"]
    return [explained(key, problem) for problem in check_part(node, key, PROVIDED.get(key, ()))]


def explained(group: str, problem: str) -> str:
    """Add to a message about an unknown argument the choices of the group that take it."""
    found = re.match(rf"{group}\.(\w+): \w+ has no such argument", problem)
    return problem + taken_by(group, found[1]) if found else problem


def fragments(key: str, nodes: Node) -> list[str]:
    """Return a problem for each node without `_target_`: an edit of a part that was not chosen."""
    complete = [name for name, node in nodes.items() if "_target_" in as_dict(node)]
    return [
        f"{key}.{name}: the chosen {key}= has no {name!r}{did_you_mean(name, complete)}"
        for name in nodes
        if name not in complete
    ]


def refuse(problems: Sequence[str]) -> None:
    """Raise one ConfigError for all problems, if there are any."""
    if problems:
        raise ConfigError(problems[0] if len(problems) == 1 else "\n  ".join(["", *problems]))
