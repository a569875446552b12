"""Retrieval: samples that are nearer to the example of their conditions than to others."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mezzotint.errors import ConfigError
from mezzotint.metrics.extractors.base import Extractor
from mezzotint.metrics.metric import Context, Measured, Scorer
from mezzotint.metrics.paired.base import PairedMetric, named

BATCH = 64  # true examples at a time


@dataclass(frozen=True)
class Retrieval(PairedMetric):
    """The share of samples that are nearer to their own true example than to other held-out examples.

    The features of a sample are compared by their cosine with those of `candidates` held-out examples: the one whose
    conditions the sample was generated with, and those of the samples that follow, which are random others. 1 /
    candidates is expected by chance. Examples that are equally near, such as two with one image, share the hit.

    Source: R-precision of Xu et al. 2018 (AttnGAN), section 4.1, https://arxiv.org/abs/1711.10485, between images.

    Args:
        extractor: its pooled features are compared.
        candidates: held-out examples for each sample, its own among them.
    """

    extractor: Extractor
    candidates: int = 10

    positive: ClassVar[tuple[str, ...]] = ("candidates",)

    @property
    def extractors(self) -> tuple[Extractor, ...]:
        return (self.extractor,)

    def reported_name(self, n: int) -> str:
        return named(f"retrieval_{self.extractor.name}", n)

    def validate(self, context: Context) -> None:
        _, pairs = self.model(context)
        if not 2 <= self.candidates <= len(pairs):
            raise ConfigError(
                f"candidates={self.candidates}: choose 2 to {len(pairs)}, the number of held-out examples, or leave "
                "metrics=retrieval out."
            )

    def scorer(self, context: Context) -> Scorer:
        _, pairs = self.model(context)
        parts = torch.arange(len(pairs)).split(BATCH)
        with context.progress("held-out examples", len(pairs)) as advance:
            rows = []
            for index in parts:
                rows.append(self.directions(pairs.truth(index).to(context.device)))
                advance(len(index))
        known = torch.cat(rows)

        def score(images: Tensor, index: Tensor) -> dict[str, Tensor]:
            others = (index[:, None] + torch.arange(self.candidates)) % len(known)
            return {"": hits(self.directions(images), known[others])}

        return score

    def directions(self, images: Tensor) -> Tensor:
        """Return the features of images as vectors of length 1, float64 (B, d) on the CPU."""
        features = self.extractor(images).cpu().double()
        return features / features.norm(dim=1, keepdim=True).clamp_min(1e-30)

    def measure(self, context: Context) -> Measured:
        found = super().measure(context)
        value = next(iter(found.values.values()))
        note = (
            f"{value:.1%} of the samples are nearer to the held-out example of their conditions than to "
            f"{self.candidates - 1} others; {1 / self.candidates:.1%} by chance"
        )
        return Measured(found.values, found.errors, [note], found.protocol)

    def settings(self) -> dict[str, Any]:
        return {"metric": type(self).__name__, "extractor": self.extractor.name, "candidates": self.candidates}


def hits(samples: Tensor, candidates: Tensor) -> Tensor:
    """Return 1 / k where the first of the candidates (B, K, d) is among the k nearest to a sample (B, d), else 0."""
    near = (candidates @ samples[:, :, None])[:, :, 0]
    best = near >= near.max(1, keepdim=True).values - 1e-9
    return best[:, 0].double() / best.sum(1)
