"""`Job`, the resolved config of a command that works on a run, and the part of it that identifies the run."""

import hashlib
import json
import re
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, Self

from mezzotint.errors import ConfigError
from mezzotint.instantiate import renamed
from mezzotint.plain_data import as_dict, as_text, mapped

SPLITS = ("train", "test", "all")
PLACES = ("runs", "data", "cache")
Node = dict[str, Any]  # `_target_` and its arguments
Config = dict[str, Any]  # the top level as config.yaml holds it

DRAWN = ("save", "label", "condition", "out")  # keys of `sample`
EDITED = ("images", "task", "method")  # keys of `edit`
PREPARED = ("verify",)  # keys of `prepare`
NOISE = (
    "name",
    "run",
    "paths",
    "logger",
    "evaluation_share",
    *DRAWN,
    *EDITED,
    *PREPARED,
)  # no part of a run's identity
JUDGED = ("n", "seeds", "metrics", "extractor", "reference", "reference_images", "labels")
DATA_NOISE = ("skip",)  # keys of data: wherever both values are accepted, they give the same images
CODEC_NOISE = ("directory", "batch")  # keys of codec: where its files are now, and how many images it takes at a time
SAMPLING = ("sampler", "grid", "guidance", "weights", "checkpoint", *JUDGED)
FREE = (*NOISE, "budget", "hardware", "callbacks", *SAMPLING)  # may differ when a run is resumed
LONGEST = 200  # bytes of a name: a file system takes 255, and the digest and parts of files come on top


@dataclass(frozen=True)
class Paths:
    """Directories; ~ and relative paths are made absolute before a config is saved.

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
    """The resolved top level of a config: groups, each a node with `_target_` or a dict of nodes by name, and scalars.

    Args:
        budget: images to train on.
        batch_size: images a step, over all devices.
        n: number of images for `sample` and `evaluate`; null is the command's default.
        seeds: number of seeds, from `seed` on, for each of which `evaluate` takes n images: mean and deviation.
        weights: which weights are sampled: "ema", the average; "raw", the network's own; or an average by half-life.
        reference: what `evaluate` compares with: a split of the data, a folder of images, or an npz file.
        reference_images: at most so many images of the reference, chosen by their numbers; null is all of them.
        evaluation_share: the largest share of the training's arithmetic that sampling and evaluation may cost at its
            end; null, or a number given as n=, removes the bound.
        checkpoint: the step of the checkpoint to sample from; null is the newest, "best" the one that
            callbacks=sample_metrics kept.
        init: weights that a new run starts from: a run, one of its checkpoints, or a file of tensors.
        init_weights: which of its weights, as `weights` names them; null is "ema".
        save: what `sample` writes beside its pictures.
        label: what `sample` draws: a class by its label or name, several as a list, or {class: images of it, ...}.
        condition: what `sample` draws, beside the class: values by the name of the condition, one or a list of several,
            or a file of them; null takes those of the held-out examples.
        out: where `sample` puts what it draws: a folder, or the picture's file; null is the run's samples.
        images: what `edit` edits: a folder, an npz file, an array, an image, or a split of the data; null is the
            held-out examples.
        verify: how `prepare` finds images that changed: by their sizes and times, or by reading all of them again.
        codec: how stored data become numbers for the network; null is the usual one of the data.
        task: what `edit` does.
        method: how a task with a measurement is solved; null is its usual method.
        labels: classes of evaluated samples: "data", as frequent as in the reference; "balanced",
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
    init: str | None = None
    init_weights: str | float | None = None
    seeds: int = 1
    reference: str = "train"
    reference_images: int | None = None
    evaluation_share: float | None = 1.0
    save: Literal["none", "png", "npz", "npy"] = "none"
    label: int | str | list[int | str] | dict[int | str, int] | None = None
    condition: str | dict[str, Any] | None = None
    out: str | None = None
    images: str | None = None
    verify: Literal["times", "content"] = "times"
    labels: Literal["auto", "data", "balanced"] = "auto"
    codec: Node | None = None
    c_noise: Node | None = None
    c_in: Node | None = None
    loss_weight: Node | None = None
    lr_schedule: Node | None = None
    ema: Node | None = None
    guidance: Node | None = None
    task: Node | None = None
    method: Node | None = None
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

    def data_node(self) -> Node:
        """Return the node of the dataset, with the codec in it where one was chosen."""
        return self.data if self.codec is None else self.data | {"codec": self.codec}

    @classmethod
    def of_dict(cls, config: Config) -> Self:
        """Return the job of a saved config; missing keys have their defaults."""
        return cls(**config)

    def as_dict(self) -> Config:
        """Return the top level as config.yaml holds it; nodes are shared, not copied."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


GROUPS = tuple(item.name for item in fields(Job) if item.type in (Node, Node | None))  # of one choice
LISTS = tuple(item.name for item in fields(Job) if item.type == dict[str, Node])  # groups of several choices, by name


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


def defaults(kind: type = Job) -> Config:
    """Return the default of every top-level key that has one."""
    given = {item.name: item.default for item in fields(kind) if item.default is not MISSING}
    return given | {item.name: item.default_factory() for item in fields(kind) if item.default_factory is not MISSING}


def literal(value: Any) -> Any:
    """Escape interpolations, so that OmegaConf takes `${oc.env:KEY}` in a saved config as plain text."""

    def escaped(leaf: Any) -> Any:
        text = as_text(leaf)
        return re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + r"\${", text) if text else leaf

    return mapped(value, escaped)


def relocatable(config: Config) -> Config:
    """Replace prefixes from `paths` by `${paths.KEY}`, so that `train run=DIR paths.data=NEW` moves the data too."""
    paths = as_dict(config.get("paths"))  # of any file that is called config.yaml
    folders = {key: folder for key in PLACES if (folder := as_text(paths.get(key)))}

    def relative(leaf: Any) -> Any:
        for key, folder in folders.items():
            if as_text(leaf) == folder or as_text(leaf).startswith(f"{folder}/"):
                return f"${{paths.{key}}}{leaf[len(folder) :]}"
        return leaf

    return {key: value if key == "paths" else mapped(value, relative) for key, value in config.items()}


def same_codec(node: Any) -> Any:
    """Return the node of a codec without the place of its files, which may be moved, and the size of its batches."""
    codec = as_dict(node)
    return {key: value for key, value in codec.items() if key not in CODEC_NOISE} or node


def identity(config: Config) -> Config:
    """Return the part of a config that identifies a run: without paths, names, and keys at their default.

    A key added by a later version therefore does not change the identity of an older run.
    """
    usual = defaults()
    kept = {key: value for key, value in relocatable(config).items() if key not in NOISE}
    if data := as_dict(kept.get("data")):
        kept["data"] = {key: value for key, value in data.items() if key not in DATA_NOISE}
    return {key: value for key, value in kept.items() if key not in usual or value != usual[key]}


def digest(config: Config) -> str:
    """Return eight hexadecimal digits of the hash of a config's identity."""
    text = json.dumps(renamed.original(identity(config)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def differences(old: Config, new: Config, prefix: str = "") -> list[str]:
    """Return the keys at which two configs differ, as they are written on the command line."""
    found = []
    for key in [*old, *(key for key in new if key not in old)]:
        match old.get(key), new.get(key):
            case dict() as a, dict() as b if a.get("_target_") == b.get("_target_"):
                found += differences(a, b, f"{prefix}{key}.")
            case a, b if a != b:
                found.append(f"{prefix}{key}")
    return found
