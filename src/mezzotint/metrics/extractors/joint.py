"""Several extractors as one, for metrics that compare distances in several feature spaces."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mezzotint.attributes import computed
from mezzotint.data.codecs.base import Codec
from mezzotint.errors import ConfigError
from mezzotint.metrics.extractors.auto import AutoExtractor
from mezzotint.metrics.extractors.base import Extractor

JOINT = "joint"


@dataclass(frozen=True, eq=False)
class JointExtractor(Extractor):
    """The views of the first extractor, and "joint": the pooled features of all extractors side by side.

    Metrics of one feature space, such as `fid`, read the first. All are computed in one pass over the images.

    Args:
        extractors: two or more; `resolve` finds what depends on the shape of the examples.

    Raises:
        ValueError: fewer than two.
    """

    extractors: Sequence[Extractor | AutoExtractor]

    def __post_init__(self) -> None:
        if len(self.extractors) < 2:
            raise ValueError(f"extractors= lists {len(self.extractors)}: give two or more, or extractor=NAME for one.")

    @property
    def parts(self) -> tuple[Extractor, ...]:
        return tuple(part for part in self.extractors if isinstance(part, Extractor))

    @computed
    def name(self) -> str:
        return self.parts[0].name

    @computed
    def named_fid(self) -> bool:
        return self.parts[0].named_fid

    @computed
    def preprocessing(self) -> str:
        return "; ".join(part.preprocessing for part in self.parts)

    @computed
    def widths(self) -> Mapping[str, int]:
        return {**self.parts[0].widths, JOINT: sum(part.features for part in self.parts)}

    @property
    def published(self) -> bool:
        """True if the first extractor's weights are the published ones."""
        return self.parts[0].published

    @property
    def digest(self) -> str:
        return hashlib.sha256(" ".join(f"{part.name} {part.digest}" for part in self.parts).encode()).hexdigest()

    @property
    def network(self) -> nn.Module:
        return nn.ModuleList(part.network for part in self.parts)

    @property
    def fetched(self) -> bool:
        return all(part.fetched for part in self.parts)

    def validate(self, shape: tuple[int, ...]) -> None:
        for part in self.parts:
            part.validate(shape)

    def resolve(self, shape: tuple[int, ...], codec: Codec | None = None) -> JointExtractor | None:
        """Return it for examples of this shape; None where one of them does not fit.

        Raises:
            ConfigError: two have the same name, by which values are reported.
        """
        found = [part.resolve(shape, codec) for part in self.extractors]
        parts = [part for part in found if part is not None]
        names = [part.name for part in parts]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ConfigError(f"extractors= lists {twice} twice: give each feature space once.")
        return JointExtractor(parts) if len(parts) == len(found) else None

    def views(self, images: Tensor) -> dict[str, Tensor]:
        return side_by_side([part.views(images) for part in self.parts])

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return side_by_side([part.forward(images) for part in self.parts])

    def blank(self, shape: Sequence[int]) -> Tensor:
        return self.parts[0].blank(shape)


def side_by_side(views: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the first extractor's views, and the pooled features of all as one view (B, d)."""
    return {**views[0], JOINT: torch.cat([each["pooled"].float() for each in views], dim=1)}
