"""Keys that data=array finds in its file: shape, classes, and the moments of the channels.

They are written into the config, so that a run that goes on, or was moved, uses exactly the same numbers.
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezzotint.app.config.job import Node
from mezzotint.errors import ConfigError
from mezzotint.instantiate.locate import locate
from mezzotint.instantiate.nodes import node_of

if TYPE_CHECKING:
    from mezzotint.data import ArrayFile

ARRAY, STANDARDIZE = "mezzotint.data.ArrayFile", "mezzotint.data.StandardizeCodec"
MOMENTS = ("mean", "std", "stored")
STATED = ("mezzotint.data.EEG", "mezzotint.data.Terrain")  # datasets that know their codec


def find_array(config: Any) -> None:
    """Fill in Hydra's config, before anything interpolates it. Raises DataError: the file cannot be used."""
    from omegaconf import OmegaConf

    node, codec = OmegaConf.select(config, "data"), OmegaConf.select(config, "codec")
    target = value_of(node, "_target_") if node else None
    if target in STATED and codec is None:
        stated: Any = locate(target)  # a class of `Measured`
        put(config, "codec", node_of(stated.standard))
    root = value_of(node, "root") if target == ARRAY else None
    if target == ARRAY and root is None:
        raise ConfigError("data.root: a value is needed; give data.root=FILE with a .npy, .npz or .safetensors file")
    if root is None:
        return
    measured = codec is None or (
        codec.get("_target_") == STANDARDIZE and None in map(partial(value_of, codec), MOMENTS)
    )
    if not measured and None not in (value_of(node, "shape"), value_of(node, "classes")):
        return
    from mezzotint.data import ArrayFile

    labels = value_of(node, "labels")
    if labels is not None and Path(labels).expanduser().is_file():
        labels = str(Path(labels).expanduser().absolute())
        put(config, "data.labels", labels)
    data = ArrayFile(root=root, member=value_of(node, "member"), labels=labels)
    if value_of(node, "shape") is None:
        put(config, "data.shape", list(data.shape))
    if value_of(node, "classes") is None:
        found = data.found_labels()
        put(config, "data.classes", 0 if found is None else int(found.max()) + 1)
    if measured and not (codec is None and data.array.dtype.name == "uint8"):
        print(f"{root}: measuring mean and standard deviation", flush=True)
        put(config, "codec", moments(data, codec))


def value_of(node: Any, key: str) -> Any:
    """Return a value of Hydra's config; None where it is null, missing or not there."""
    from omegaconf import OmegaConf

    return OmegaConf.select(node, key, throw_on_missing=False)


def put(config: Any, key: str, value: Any) -> None:
    """Set a group or a value of Hydra's config, also one that it leaves out."""
    from omegaconf import OmegaConf

    OmegaConf.update(config, key, value, merge=False, force_add=True)


def moments(data: "ArrayFile", codec: Any) -> Node:
    """Return the node of the codec with what is measured where it says nothing."""
    from omegaconf import OmegaConf

    mean, std = data.moments()
    found = {"mean": list(mean), "std": list(std), "stored": data.array.dtype.name}
    given: Any = {} if codec is None else OmegaConf.to_container(codec, resolve=True, throw_on_missing=False)
    return (
        {"_target_": STANDARDIZE, "low": None, "high": None}
        | found
        | {key: value for key, value in given.items() if value not in ("???", None)}
    )
