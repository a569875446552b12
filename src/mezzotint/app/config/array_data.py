"""What data=array leaves open, found in its file: shape, classes, and the moments of its channels.

They are written into the config, so that a run that goes on, or was moved, uses exactly the same numbers.
"""

from pathlib import Path
from typing import Any

from mezzotint.errors import ConfigError
from mezzotint.instantiate.nodes import node_of

ARRAY, STANDARDIZE = "mezzotint.data.ArrayFile", "mezzotint.data.StandardizeCodec"


def find_array(config: Any) -> None:
    """Fill in Hydra's config, before anything interpolates it. Raises DataError: the file cannot be used."""
    from omegaconf import OmegaConf

    node, codec = OmegaConf.select(config, "data"), OmegaConf.select(config, "codec")
    open_moments = codec is not None and codec.get("_target_") == STANDARDIZE and None in (codec.mean, codec.std)
    if not node or node.get("_target_") != ARRAY:
        if open_moments:
            raise ConfigError("codec.mean and codec.std are measured of data=array alone: give one number a channel")
        return
    root = OmegaConf.select(node, "root", throw_on_missing=False)
    if root is None or not (node.get("shape") is None or node.get("classes") is None or codec is None or open_moments):
        return
    fill(config, node, codec, str(root), open_moments)


def fill(config: Any, node: Any, codec: Any, root: str, open_moments: bool) -> None:
    from omegaconf import OmegaConf, open_dict

    from mezzotint.data import ArrayFile, StandardizeCodec

    labels = node.get("labels")
    if labels is not None and Path(str(labels)).expanduser().is_file():
        labels = node["labels"] = str(Path(str(labels)).expanduser().absolute())
    data = ArrayFile(root=root, member=node.get("member"), labels=labels)
    if node.get("shape") is None:
        node["shape"] = list(data.shape)
    if node.get("classes") is None:
        found = data.found_labels()
        node["classes"] = 0 if found is None else int(found.max()) + 1
    if codec is not None and not open_moments:
        return
    if codec is None and data.array.dtype.name == "uint8":
        return
    print(f"{root}: measuring mean and standard deviation", flush=True)
    mean, std = data.moments()
    if codec is None:
        with open_dict(config):
            config["codec"] = OmegaConf.create(node_of(StandardizeCodec(mean, std, data.array.dtype.name)))  # type: ignore[arg-type]
        return
    codec["mean"] = list(mean) if codec.mean is None else codec.mean
    codec["std"] = list(std) if codec.std is None else codec.std
    codec["stored"] = codec.get("stored") or data.array.dtype.name
