"""Keys that data=latents finds in its folder: the images, the codec, and the moments of the channels.

They are written into the config, so that a run that goes on, or was moved, uses exactly the same numbers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mezzotint.app.config.array_data import put, value_of
from mezzotint.app.config.job import Node
from mezzotint.instantiate.build import targets
from mezzotint.instantiate.locate import locate
from mezzotint.instantiate.trust import current, trusting
from mezzotint.plain_data import as_dict

LATENTS = "mezzotint.data.Latents"
OF_IMAGES = ("shape", "classes", "flip", "names", "conditions")  # keys of the images that hold for their latents
FACTORS = ("mean", "std", "scaling_factor", "shift_factor")


def find_latents(config: Any) -> None:
    """Fill in Hydra's config, before anything interpolates it. Raises DataError: the folder cannot be used."""
    from omegaconf import OmegaConf, open_dict

    node, codec = OmegaConf.select(config, "data"), OmegaConf.select(config, "codec")
    root = value_of(node, "root") if node and value_of(node, "_target_") == LATENTS else None
    if root is None or not (codec is None or value_of(node, "source") is None):
        return
    from mezzotint.data.latents.manifest import FILE, read

    folder = Path(root).expanduser()
    if value_of(node, "shape") is not None and not (folder / FILE).is_file():
        return  # refused where the data are read
    manifest = read(folder)
    source, encoder = dict(manifest.source), dict(manifest.codec)
    check_trust({"data": source, "codec": encoder})
    with open_dict(node):
        node["source"] = source if value_of(node, "source") is None else node["source"]
        for key in OF_IMAGES:
            if value_of(node, key) is None and source.get(key) is not None:
                node[key] = source[key]
        for key, usual in (("classes", 0), ("flip", False)):
            if value_of(node, key) is None:
                node[key] = usual
    given: Any = {} if codec is None else OmegaConf.to_container(codec, resolve=True, throw_on_missing=False)
    measured = {"mean": manifest.mean, "std": manifest.std}
    put(config, "codec", chosen_codec(given, encoder, measured))


def chosen_codec(given: Node, encoder: Node, measured: dict[str, Any]) -> Node:
    """Return the codec of latents: the one that encoded them, with what the command says, and measured moments.

    Args:
        given: the codec of the command, in which a value that is null or missing is open; empty without one.
        encoder: the codec that encoded them.
    """
    said = {key: value for key, value in as_dict(given).items() if value not in (None, "???")}
    if said.get("_target_", encoder["_target_"]) != encoder["_target_"]:
        return given  # refused where the data are read
    node = encoder | said
    moments = {key: list(value or ()) or None for key, value in measured.items()}
    return node if any(node.get(key) is not None for key in FACTORS) else node | moments


def check_trust(nodes: dict[str, Node]) -> None:
    """Refuse a manifest, which somebody else may have written, that names code of others. Raises ConfigError."""
    with strict():
        for where, path in targets(nodes):
            locate(path, where)


@contextmanager
def strict() -> Iterator[None]:
    with trusting(replace(current(), strict=True)):
        yield
