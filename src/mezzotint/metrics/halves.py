"""How far two halves of the real images are from each other: the mark that a good model reaches."""

from __future__ import annotations

from statistics import median

import torch
from torch import Tensor

from mezzotint.data.images import Images
from mezzotint.metrics.extractor import Extractor
from mezzotint.metrics.moments import Moments, frechet_distance


def halves_baseline(reference: Images, extractor: Extractor, seed: int = 0, repeats: int = 9) -> float:
    """The median Frechet distance between two random halves of the real images, over so many splits."""
    indices = torch.arange(len(reference)).split(1024)
    features = torch.cat([extractor(reference.batch(part)[0]) for part in indices])
    generator = torch.Generator().manual_seed(seed)
    return median(_distance(features, torch.randperm(len(features), generator=generator)) for _ in range(repeats))


def _distance(features: Tensor, order: Tensor) -> float:
    first, second = features[order].tensor_split(2)
    return frechet_distance(Moments.of(first), Moments.of(second))
