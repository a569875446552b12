"""Does a model copy its training images? Nearest neighbours in feature space, held against images it never saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mezzotint.data.image_set import ImageSource
from mezzotint.errors import DataError
from mezzotint.instantiate.finite import Finite
from mezzotint.metrics.extractors.base import Extractor
from mezzotint.metrics.metric import short_count
from mezzotint.metrics.neighbours.knn import nearest

BATCH = 1024  # images at a time


@dataclass(frozen=True, eq=False)
class MemorisationResult:
    """How much nearer drawn images lie to the training images than held-out ones do.

    Args:
        share: of drawn images that are nearer to a training image than all but `level` of the held-out ones.
        level: the share to expect of a model that copies nothing.
        nearer: the probability that a drawn image is nearer than a held-out one, 1/2 to expect (ties count half).
        distances: from each drawn image to its nearest training image (n,).
        neighbours: the index of that training image (n,).
        usual: the median distance from a held-out image to its nearest training image, to compare with.
    """

    share: float
    level: float
    nearer: float
    distances: Tensor
    neighbours: Tensor
    usual: float

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"{self.share:.1%} of the drawn images are as near to a training image as the nearest {self.level:.0%} of "
            f"held-out images; a drawn image is nearer than a held-out one with probability {self.nearer:.2f}, "
            "where 0.5 is fair"
        ]

    def worst(self, count: int) -> Tensor:
        """The drawn images that lie nearest to a training image, by their numbers (count,), the nearest first."""
        return self.distances.argsort(stable=True)[:count]


@dataclass(frozen=True)
class Memorisation(metaclass=Finite):
    """The share of drawn images that are suspiciously near to a training image: `memorised` of the first ones.

    The training images are those of the split "train", and "test" is held against them, whatever the reference is.

    Args:
        extractor: whose pooled features measure distance.
        images: drawn images that are looked at, at most.
        level: the share of held-out images that count as suspiciously near, and so what is to be expected.
    """

    extractor: Extractor
    images: int = 1000
    level: float = 0.05

    higher_is_better: ClassVar[bool] = False
    looks_at: ClassVar[tuple[str, ...]] = ("train", "test")

    def __post_init__(self) -> None:
        if self.images < 1 or not 0 < self.level < 1:
            raise ValueError(
                f"images={self.images}, level={self.level}: at least one image, and a share between 0 and 1."
            )

    def count(self, n: int) -> int:
        """How many of n drawn images it looks at."""
        return min(n, self.images)

    def check(self, training: ImageSource, held_out: ImageSource) -> None:
        """Raises DataError where the held-out images are the training images: nothing can be held against these."""
        if training.digest() == held_out.digest():
            raise DataError(
                "the memorisation check compares with images that were not trained on, and this dataset holds none "
                "out. Train with data.held_out=0.1, or leave metrics=memorisation out."
            )

    def measure(self, drawn: Tensor, training: ImageSource, held_out: ImageSource) -> MemorisationResult:
        """Of drawn images (uint8) and those that the model was and was not trained on."""
        return memorised(drawn, training, held_out, self.extractor, self.level)

    def values(self, found: MemorisationResult) -> dict[str, float]:
        """What to report, by name."""
        name = f"{self.extractor.name}_{short_count(len(found.distances))}"
        return {f"copied_{name}": found.share, f"copied_nearer_{name}": found.nearer}

    def settings(self) -> dict[str, Any]:
        """The class and its arguments, for the protocol."""
        return {
            "metric": type(self).__name__,
            "extractor": self.extractor.name,
            "images": self.images,
            "level": self.level,
        }


def memorised(
    drawn: Tensor, training: ImageSource, held_out: ImageSource, extractor: Extractor, level: float = 0.05
) -> MemorisationResult:
    """Compares the distances of drawn and of held-out images to their nearest training image.

    A model that has learned the distribution is no nearer to its training images than new images are; one that copies
    is. Typical, too smooth images also come nearer, so look at the pairs.

    Sources: Meehan et al. 2020, https://arxiv.org/abs/2004.05675 (the comparison with held-out images)

    Args:
        drawn: uint8 (n, C, H, W).
        training: what the model was trained on.
        held_out: images of the same kind that it was not trained on.
        extractor: whose pooled features measure distance.
        level: quantile of the held-out distances below which an image counts as copied.
    """
    device = drawn.device
    queries = torch.cat([_rows(extractor, drawn), _features(held_out, extractor, device)])
    distances, indices = _to_training(queries, training, extractor, device)
    made, fair = distances[: len(drawn)], distances[len(drawn) :]
    share = float((made < fair.quantile(level)).double().mean())
    ordered = fair.sort().values
    below, through = (torch.searchsorted(ordered, made, right=right).double() for right in (False, True))
    nearer = 1 - float((below + through).mean()) / (2 * len(fair))
    return MemorisationResult(share, level, nearer, made, indices[: len(drawn)], float(fair.median()))


def _to_training(
    rows: Tensor, training: ImageSource, extractor: Extractor, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Distance to and index of the nearest training image, a batch of training images at a time."""
    best = torch.full((len(rows),), float("inf"), dtype=torch.float64)
    which = torch.zeros(len(rows), dtype=torch.int64)
    for indices in torch.arange(len(training)).split(BATCH):
        distances, found = nearest(rows, _rows(extractor, training.batch(indices)[0].to(device)))
        closer = distances < best
        best[closer], which[closer] = distances[closer], indices[found[closer]]
    return best, which


def _features(images: ImageSource, extractor: Extractor, device: torch.device) -> Tensor:
    parts = torch.arange(len(images)).split(BATCH)
    return torch.cat([_rows(extractor, images.batch(part)[0].to(device)) for part in parts])


def _rows(extractor: Extractor, images: Tensor) -> Tensor:
    """Features in float64 on the CPU, whatever the device has."""
    return extractor(images).cpu().double()
