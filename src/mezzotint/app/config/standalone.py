"""What is asked of images without a run: the top level of configs/standalone.yaml as one call."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mezzotint.app.config.job import SPLITS, Config, Node, absolute, settle
from mezzotint.app.results.references import Reference, open_reference
from mezzotint.errors import ConfigError
from mezzotint.instantiate.build import build


@dataclass(frozen=True)
class Standalone:
    """Images, what they are compared with, and by what.

    Args:
        images: a folder or an npz file of images to judge.
        reference: a folder or an npz file of real ones, or a split of `data`.
        n: how many of the images are judged; null is all.
        out: the file to write; null is a name of the command's own.
    """

    hardware: Node
    paths: Node
    data: Node | None = None
    extractor: Node | None = None
    metrics: dict[str, Node] = field(default_factory=dict)
    images: str | None = None
    reference: str | None = None
    n: int | None = None
    out: str | None = None

    def __post_init__(self) -> None:
        if self.n is not None and self.n < 2:
            raise ConfigError(f"n={self.n}: give 2 or more")
        if self.reference in SPLITS and self.data is None and not Path(self.reference).exists():
            raise ConfigError(f"reference={self.reference} is a split of a dataset: say of which, data=NAME")
        if self.reference is None and self.data is None:
            raise ConfigError("against what? Give data=NAME, or reference= with a folder or an npz file of real images")


def settle_standalone(config: Any) -> tuple[Config, Reference]:
    """The checked config, and the real images that it names."""
    plain = settle(config, kind=Standalone)
    if plain["data"] is None:  # a folder, whatever its name
        plain["reference"] = absolute(plain["reference"])
    dataset = None if plain["data"] is None else build(plain["data"], "data")
    return plain, open_reference(plain["reference"] or "train", dataset)
