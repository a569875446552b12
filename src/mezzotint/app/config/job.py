"""What a command is asked to do: the top level of the config as one call, and what of it makes two runs the same."""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from mezzotint.app.config.derived import write_out
from mezzotint.app.help import taken_by
from mezzotint.errors import ConfigError
from mezzotint.instantiate import renamed
from mezzotint.instantiate.build import build, check_part
from mezzotint.instantiate.finite import IMMENSE, immense
from mezzotint.instantiate.locate import did_you_mean
from mezzotint.instantiate.type_hints import format_type, format_value, matches

SPLITS = ("train", "test", "all")
PLACES = ("runs", "data", "cache")
FILES = ("data.root", "extractor.weights", "guidance.weak.directory")  # files and folders that parts are made from
Node = dict[str, Any]
Config = dict[str, Any]

NOISE = ("name", "run", "paths", "logger", "save", "evaluation_share", "label", "out")  # what does not make another run
JUDGED = ("n", "seeds", "metrics", "extractor", "reference", "reference_images", "labels")
DATA_NOISE = ("skip",)  # of the data: where both values are accepted, they give the same images
SAMPLING = ("sampler", "grid", "guidance", "weights", "checkpoint", *JUDGED)
FREE = (*NOISE, "budget", "hardware", "callbacks", *SAMPLING)  # what may differ when a run goes on
FOLDER = "mezzotint.data.ImageFolder"  # whose classes are found by themselves
LAID_OVER = "the file begins with the line `# @package _global_`, or what it says is not found"
LONGEST = 200  # bytes of a name: a file system takes 255, and the digest and parts of files come on top
NAMED = ("metrics", "callbacks", "logger")  # dicts of nodes by name
PROVIDED = {"objective": ("times", "weight", "loss"), "guidance": ("inner",), "metrics": ("extractor",)}


@dataclass(frozen=True)
class Paths:
    """Where things lie; ~ and relative paths are made absolute before a config is saved.

    Args:
        runs: one folder a run.
        data: datasets, downloaded or put there by hand.
        cache: reference statistics and downloaded weights; may be deleted at any time.
    """

    runs: str
    data: str
    cache: str


@dataclass(frozen=True)
class Job:
    """The top level of a config: groups, each a node with `_target_` or a dict of such nodes by name, and scalars.

    Args:
        budget: images to train on.
        batch_size: images a step, over all devices.
        n: images that `sample` draws or `evaluate` judges; null is the command's own number.
        seeds: `evaluate` judges n images of each of so many seeds, from `seed` on, and gives mean and deviation.
        weights: which weights are sampled: "ema", the average; "raw", the network's own; or an average by half-life.
        reference: what `evaluate` compares with: a split of the data, a folder of images, or an npz file.
        reference_images: at most so many images of the reference, chosen by their numbers; null is all of them.
        evaluation_share: the largest share of the training's arithmetic that sampling and evaluation may cost at its
            end; null, or a number given as n=, removes the bound.
        checkpoint: the step of the checkpoint to sample from; null is the newest, "best" the one that
            callbacks=sample_metrics kept.
        save: what `sample` writes beside its pictures.
        label: what `sample` draws: a class by its label or name, several as a list, or {class: images of it, ...}.
        out: where `sample` puts what it draws: a folder, or the picture's file; null is the run's samples.
        labels: of the samples that `evaluate` judges: "data", in the shares of the reference's classes; "balanced",
            each class equally often; "auto", balanced where the reference nearly is.
    """

    data: Node
    network: Node
    schedule: Node
    target: Node
    objective: Node
    time_distribution: Node
    loss: Node
    optimizer: Node
    sampler: Node
    grid: Node
    hardware: Node
    paths: Node
    name: str
    budget: int
    batch_size: int
    seed: int = 0
    run: str | None = None
    n: int | None = None
    weights: str | float = "ema"
    checkpoint: int | Literal["best"] | None = None
    seeds: int = 1
    reference: str = "train"
    reference_images: int | None = None
    evaluation_share: float | None = 1.0
    save: Literal["none", "png", "npz"] = "none"
    label: int | str | list[int | str] | dict[int | str, int] | None = None
    out: str | None = None
    labels: Literal["auto", "data", "balanced"] = "auto"
    c_noise: Node | None = None
    c_in: Node | None = None
    loss_weight: Node | None = None
    ema: Node | None = None
    guidance: Node | None = None
    extractor: Node | None = None
    metrics: dict[str, Node] = field(default_factory=dict)
    callbacks: dict[str, Node] = field(default_factory=dict)
    logger: dict[str, Node] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key in ("budget", "batch_size", "n", "seeds", "reference_images"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ConfigError(f"{key}={value}: give 1 or more")
        if self.evaluation_share is not None and not self.evaluation_share > 0:
            raise ConfigError(f"evaluation_share={self.evaluation_share:g}: give a share above 0, or null")
        if not -(2**63) <= self.seed < 2**63:
            raise ConfigError(f"seed={self.seed}: give a number of at most 63 bits")
        check_name(self.name)


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a run's folder. Raises ConfigError."""
    if name == "latest":
        raise ConfigError("name=latest is what the link to the newest run is called; choose another name")
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise ConfigError(f"name={name!r} must be usable as the name of a folder: letters, digits, . _ + -")
    if len(name.encode()) > LONGEST:
        raise ConfigError(
            f"name={name[:20]}...: {len(name.encode())} bytes are too many for a folder; at most {LONGEST}"
        )


def settle(config: Any, without: Sequence[str] = (), kind: type = Job) -> Config:
    """Hydra's config as plain values that were compared with the calls they stand for.

    Args:
        without: groups that the command does not use; what they name is not imported.
        kind: the call that the top level stands for.

    Raises:
        ConfigError: with all that is wrong.
    """
    plain = resolve(config, kind)
    check_groups(plain, without)
    return plain


def resolve(config: Any, kind: type = Job) -> Config:
    """Hydra's config as plain values: paths absolute, nothing left to resolve, the top level checked."""
    from omegaconf import OmegaConf

    paths = config.get("paths")
    for key in (key for key in PLACES if OmegaConf.is_dict(paths) and key in paths):
        value = paths[key]
        if not (isinstance(value, str) and value):
            raise ConfigError(f"paths.{key}={'' if value is None else value}: give a folder, such as paths.{key}=.")
        paths[key] = literal(absolute(value))
    find_classes(config)
    plain: Config = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    known = {item.name: item for item in fields(kind)}
    plain = defaults(kind) | plain
    for key in NAMED:  # callbacks.progress=null leaves it out
        if isinstance(plain.get(key), dict):
            plain[key] = {name: node for name, node in plain[key].items() if node is not None}
    refuse([f"{key}: {LAID_OVER}" for key in ("experiment", "debug", "sweep") if key in plain])
    refuse(
        [f"{key}: no such key{did_you_mean(key, known)}" for key in plain if key not in known]
        + [f"{key}: {IMMENSE}" for key, value in plain.items() if immense(value)]
        + [f"{key}: a value is needed; give {key}=VALUE" for key in known if plain.get(key, "???") == "???"]
        + [
            f"{key}: {format_value(value)} is not {format_type(known[key].type)}"
            for key, value in plain.items()
            if key in known
            and value != "???"
            and not matches({} if isinstance(value, dict) else value, known[key].type)
        ]
    )
    refuse([problem for key in NAMED for problem in fragments(key, plain.get(key) or {})])
    if plain["paths"]:  # where things lie is asked before anything else is looked at
        refuse(check_part(plain["paths"], "paths"))
    kind(**plain)
    if plain.get("weights") == "ema" and plain["ema"] is None:
        plain["weights"] = "raw"
    if plain["reference"] not in (None, *SPLITS):
        plain["reference"] = absolute(plain["reference"])
    anchor(plain)
    write_out(plain)
    return plain


def find_classes(config: Any) -> None:
    """Put the number of class folders where data.classes leaves it open, before anything follows it."""
    from omegaconf import OmegaConf

    node = OmegaConf.select(config, "data")
    if not node or node.get("_target_") != FOLDER or node.get("classes", 0) not in (None, "auto"):
        return
    root, names = (OmegaConf.select(node, key) for key in ("root", "names"))
    if names or root is None or not Path(root).expanduser().is_dir():
        node["classes"] = len(names or ())
        return
    print(f"{root}: looking for class folders", flush=True)
    node["classes"] = build({"_target_": FOLDER, "root": root, "shape": [3, 1, 1]}, "data").found_classes()


def unbounded(config: Config, given: Sequence[str]) -> Config:
    """The config without a bound on the look at its end, where a word says how many images are judged."""
    return (
        config | {"evaluation_share": None}
        if {"n", "reference_images"} & set(given) and "evaluation_share" not in given
        else config
    )


def anchor(config: Config) -> None:
    """Make paths that parts are made from absolute, where they are there: a run is used from other folders too."""
    for key in FILES:
        *groups, last = key.split(".")
        node: Any = config
        for group in groups:
            node = node.get(group) if isinstance(node, dict) else None
        value = node.get(last) if isinstance(node, dict) else None
        if isinstance(value, str) and value and os.path.exists(os.path.expanduser(value)):
            node[last] = absolute(value)


def absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def refuse_drawing(config: Config, instead: str) -> None:
    """Refuse what only `sample` obeys.

    Args:
        instead: what the command does about classes, for the message.
    """
    if config["label"] is not None:
        raise ConfigError(f"label= is for sample: {instead}")
    if config["out"] is not None:
        raise ConfigError("out= is for sample, and for commands without a run; everything else of a run lies in it")


def check_groups(config: Config, without: Sequence[str] = ()) -> None:
    """Compare every group with the call it stands for."""
    problems = []
    for key, value in config.items():
        if key in without or key == "label":  # {class: images of it} is no group
            continue
        if key in NAMED:
            for name, node in value.items():
                problems += check_part(node, f"{key}.{name}", PROVIDED.get(key, ()))
        elif isinstance(value, dict) and "_target_" not in value:
            problems.append(f"{key}: it has no _target_; choose a {key}= or write a whole node")
        elif isinstance(value, dict):
            problems += [explained(key, problem) for problem in check_part(value, key, PROVIDED.get(key, ()))]
    refuse(problems)


def explained(group: str, problem: str) -> str:
    """Add to a message about an unknown argument which choices of the group do take it."""
    found = re.match(rf"{group}\.(\w+): \w+ has no such argument", problem)
    return problem + taken_by(group, found[1]) if found else problem


def fragments(key: str, nodes: Node) -> list[str]:
    """Nodes that cannot be built: an edit of one that was not chosen leaves no more than what it says."""
    whole = [name for name, node in nodes.items() if isinstance(node, dict) and "_target_" in node]
    return [
        f"{key}.{name}: the chosen {key}= has no {name!r}{did_you_mean(name, whole)}"
        for name in nodes
        if name not in whole
    ]


def refuse(problems: Sequence[str]) -> None:
    if problems:
        raise ConfigError(problems[0] if len(problems) == 1 else "\n  ".join(["", *problems]))


def defaults(kind: type = Job) -> Config:
    """What the top level says where it says nothing."""
    given = {item.name: item.default for item in fields(kind) if item.default is not MISSING}
    return given | {item.name: item.default_factory() for item in fields(kind) if item.default_factory is not MISSING}


def literal(value: Any) -> Any:
    """A plain value in which OmegaConf finds nothing to resolve, such as a saved config: ${oc.env:KEY} is a text."""
    if isinstance(value, dict):
        return {key: literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [literal(item) for item in value]
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + r"\${", value)
    return value


def relocatable(config: Config) -> Config:
    """A saved config in which what lay below a path of `paths` follows it again: `train run=DIR paths.data=NEW`."""
    paths = config.get("paths")  # of whatever calls itself a config.yaml
    said = paths if isinstance(paths, dict) else {}
    places = {key: value for key, value in said.items() if key in PLACES and isinstance(value, str) and value}

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: walk(item) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item) for item in value]
        for key, place in places.items():
            if isinstance(value, str) and (value == place or value.startswith(f"{place}/")):
                return f"${{paths.{key}}}{value[len(place) :]}"
        return value

    return {key: value if key == "paths" else walk(value) for key, value in config.items()}


def identity(config: Config) -> Config:
    """What of a config makes the run what it is; where its data lies does not, nor a word that says what was so anyway.

    So a word that a later version knows does not make another run of one that never heard of it.
    """
    usual = defaults()
    kept = {key: value for key, value in relocatable(config).items() if key not in NOISE}
    if isinstance(kept.get("data"), dict):
        kept["data"] = {key: value for key, value in kept["data"].items() if key not in DATA_NOISE}
    return {key: value for key, value in kept.items() if key not in usual or value != usual[key]}


def digest(config: Config) -> str:
    """Eight hexadecimal digits that two configs of the same run share."""
    text = json.dumps(renamed.original(identity(config)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def differences(old: Config, new: Config, prefix: str = "") -> list[str]:
    """The keys at which two configs differ, as a user would write them."""
    found = []
    for key in [*old, *(key for key in new if key not in old)]:
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict) and a.get("_target_") == b.get("_target_"):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}")
    return found
