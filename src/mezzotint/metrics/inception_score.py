"""The Inception score: confident predictions per image, and evenly distributed classes."""

from __future__ import annotations

import torch
from torch import Tensor

from mezzotint.diffusion import KeyedRandom
from mezzotint.metrics.accumulators import Batch, SumAccumulator
from mezzotint.metrics.extractors.base import Extractor
from mezzotint.metrics.feature_metric import FeatureMetric
from mezzotint.metrics.metric import Error, short_count


class InceptionScore(FeatureMetric):
    """exp of the mean over images of KL(p(y | x) || p(y)), averaged over parts of the images; no reference.

    The parts differ in size by at most one and are chosen at random by the index of each image, independently of the
    number of processes. The score grows with the number of images in a part.

    Source: Salimans et al. 2016, sec. 4, https://arxiv.org/abs/1606.03498

    Args:
        extractor: has a view "logits".
        splits: number of parts; 10 by convention.
    """

    higher_is_better = True

    def __init__(self, extractor: Extractor, splits: int = 10) -> None:
        if splits < 1:
            raise ValueError(f"splits={splits}: give 1 or more.")
        self.generated = Probabilities("generated", splits)
        super().__init__(extractor, (self.generated,), view="logits")
        self.splits = splits
        self.deviation = 0.0

    def min_images(self) -> dict[str, int]:
        return {"generated": self.splits}

    def compute(self) -> Tensor:
        """The score, float64. Raises ValueError without images."""
        count, total, certainty = self.generated.state().values()
        filled = count > 0
        if not filled.any():
            raise ValueError("the Inception score needs generated images, and has none.")
        number = count[filled].double()
        marginal = total[filled] / number[:, None]
        mixed = torch.special.entr(marginal).sum(1)
        scores = (certainty[filled] / number + mixed).exp()
        self.deviation = float(scores.std(correction=0))
        return scores.mean()

    def errors(self, n: int, reference: int | None = None) -> dict[str, Error]:
        """The standard deviation over the parts, as torch-fidelity reports it; none for a single part."""
        self.compute()
        if not self.deviation:
            return {}
        of_value = self.deviation / self.splits**0.5
        return {self.reported_name(n, reference): Error(self.deviation, f"{self.splits} parts", of_value)}

    def notes(self, n: int, reference: int | None = None) -> list[str]:
        if n >= self.width * self.splits:
            return []
        each = f"{n // self.splits}" if n % self.splits == 0 else f"{n // self.splits} or {n // self.splits + 1}"
        return [
            f"{self.reported_name(n, reference)} averages {self.splits} parts of {each} images, fewer than its "
            f"{self.width} classes: it grows with n, so compare at equal n only."
        ]

    def reported_name(self, n: int, reference: int | None = None) -> str:
        name = "is" if self.extractor.name == "inception" else f"score_{self.extractor.name}"
        return f"{name}_{short_count(n)}"


def dealt(index: Tensor, parts: int) -> Tensor:
    """Return the part of each index, int64 (B,): of every `parts` consecutive indices each part gets one, at random."""
    first = index - index.remainder(parts)
    chances = KeyedRandom(0, (first[:, None] + torch.arange(parts)).flatten()).uniform("parts").view(-1, parts)
    own = chances.gather(1, (index - first)[:, None])
    return (chances < own).sum(1)


class Probabilities(SumAccumulator):
    """For each part of the images: count, sum of p and sum of sum p log p."""

    def __init__(self, side: str, splits: int) -> None:
        super().__init__(side)
        self.splits = splits

    @property
    def cache_key(self) -> str:
        return f"probabilities in {self.splits} parts"

    def shapes(self, width: int) -> dict[str, tuple[int, ...]]:
        return {"count": (self.splits,), "total": (self.splits, width), "certainty": (self.splits,)}

    def add(self, features: Tensor, batch: Batch) -> None:
        count, total, certainty = self.state().values()
        part = dealt(batch.index.cpu(), self.splits).to(features.device)
        logs = features.to(torch.float64).log_softmax(dim=1)
        count.index_add_(0, part, torch.ones_like(part))
        total.index_add_(0, part, logs.exp())
        certainty.index_add_(0, part, (logs.exp() * logs).sum(1))
