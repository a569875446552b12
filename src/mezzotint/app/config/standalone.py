"""`Standalone`, the resolved config of a command on samples without a run: configs/standalone.yaml as one call."""

from dataclasses import dataclass, field, fields
from pathlib import Path

from mezzotint.app.config.job import SPLITS, Config, Node
from mezzotint.errors import ConfigError


@dataclass(frozen=True)
class Standalone:
    """Samples to evaluate, the reference, and the metrics.

    Args:
        images: a folder or an npz file of images to evaluate, or a file of samples of another kind.
        reference: the same of real data, or a split of `data`.
        codec: how stored data become numbers; null is the usual one of the data.
        n: number of samples to evaluate; null is all.
        out: file to write; null derives a name from the config.
    """

    hardware: Node
    paths: Node
    data: Node | None = None
    codec: Node | None = None
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
            raise ConfigError(f"reference={self.reference} is a split of a dataset: name the dataset, data=NAME")
        if self.reference is None and self.data is None:
            raise ConfigError(
                "no reference: give data=NAME, or reference= with a folder of real images or a file of real data"
            )

    def data_node(self) -> Node | None:
        """Return the node of the dataset, with the codec in it where one was chosen; None without data."""
        return self.data if self.data is None or self.codec is None else self.data | {"codec": self.codec}

    def as_dict(self) -> Config:
        """Return the top level as a dict; nodes are shared, not copied."""
        return {item.name: getattr(self, item.name) for item in fields(self)}
