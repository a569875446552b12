"""Does a model copy its training images? Nearest neighbours in feature space, held against images it never saw."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.data.images import Images
from mezzotint.metrics.extractor import Extractor
from mezzotint.metrics.neighbours import nearest


@dataclass(frozen=True, eq=False)
class Memorisation:
    """How much nearer drawn images lie to the training images than held-out ones do.

    Args:
        share: of drawn images that are nearer to a training image than all but `level` of the held-out ones.
        level: the share to expect of a model that copies nothing.
        nearer: the probability that a drawn image is nearer than a held-out one, 1/2 to expect (ties count half).
        distances: from each drawn image to its nearest training image (n,).
        neighbours: the index of that training image (n,).
    """

    share: float
    level: float
    nearer: float
    distances: Tensor
    neighbours: Tensor

    def values(self) -> dict[str, float]:
        """What to report, by name."""
        return {"copied_share": self.share, "copied_share_expected": self.level, "copied_nearer": self.nearer}

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"{self.share:.1%} of the drawn images are as near to a training image as the nearest {self.level:.0%} of "
            f"held-out images; a drawn image is nearer than a held-out one with probability {self.nearer:.2f}, "
            "where 0.5 is fair"
        ]

    def pairs(self, drawn: Tensor, training: Images, count: int = 16) -> Tensor:
        """The nearest pairs as uint8 (2 count, C, H, W): first the drawn images, then their training neighbours."""
        order = self.distances.argsort()[:count]
        return torch.cat([drawn[order], training.batch(self.neighbours[order])[0]])


def memorised(
    drawn: Tensor, training: Images, held_out: Images, extractor: Extractor, level: float = 0.05
) -> Memorisation:
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
    made, indices = _to_training(extractor(drawn), training, extractor)
    fair, _ = _to_training(_features(held_out, extractor), training, extractor)
    share = float((made < fair.quantile(level)).double().mean())
    nearer = (made[:, None] < fair).double().mean() + (made[:, None] == fair).double().mean() / 2
    return Memorisation(share, level, float(nearer), made, indices)


def _to_training(features: Tensor, training: Images, extractor: Extractor) -> tuple[Tensor, Tensor]:
    """Distance to and index of the nearest training image, a batch of training images at a time."""
    best = torch.full((len(features),), float("inf"), dtype=torch.float64)
    which = torch.zeros(len(features), dtype=torch.int64)
    for indices in torch.arange(len(training)).split(4096):
        others = extractor(training.batch(indices)[0]).double()
        distances, found = (part.cpu() for part in nearest(features.double(), others.to(features.device)))
        closer = distances < best
        best[closer], which[closer] = distances[closer], indices[found[closer]]
    return best, which


def _features(images: Images, extractor: Extractor) -> Tensor:
    return torch.cat([extractor(images.batch(part)[0]) for part in torch.arange(len(images)).split(1024)])
