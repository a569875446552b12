"""Scores of single samples, collected as the samples are generated, over all processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from mezzotint.distributed import rank_and_world
from mezzotint.metrics.metric import Context, Metric, Scorer, Scores

Part = tuple[Tensor, dict[str, Tensor]]


class ScoredSamples:
    """The scores of samples by the metrics that have a scorer.

    Args:
        metrics: metrics by name.
        context: what their scorers are made of.
    """

    def __init__(self, metrics: Mapping[str, Metric], context: Context) -> None:
        found = {name: metric.scorer(context) for name, metric in metrics.items() if metric.scores_samples}
        self.scorers: dict[str, Scorer] = {name: scorer for name, scorer in found.items() if scorer is not None}
        self.parts: dict[str, list[Part]] = {name: [] for name in self.scorers}
        self.seen = 0

    def add(self, images: Tensor, index: Tensor | None) -> None:
        """Score samples (B, C, *size); without numbers they are counted in order of arrival."""
        if not self.scorers:
            return
        if index is None:
            rank, world = rank_and_world()
            index = (torch.arange(len(images)) + self.seen) * world + rank
        self.seen += len(images)
        for name, scorer in self.scorers.items():
            scores = {key: value.cpu().double() for key, value in scorer(images, index).items()}
            self.parts[name].append((index, scores))

    def gathered(self) -> dict[str, Scores]:
        """Return the scores of all processes by the name of the metric, in the order of the samples."""
        shares: list[Any] = [self.parts]
        if (world := rank_and_world()[1]) > 1:
            shares = [None] * world
            dist.all_gather_object(shares, self.parts)
        return {name: joined([part for share in shares for part in share[name]]) for name in self.scorers}


def joined(parts: list[Part]) -> Scores:
    """Return the scores of several batches as one, sorted by the numbers of the samples."""
    index = torch.cat([numbers for numbers, _ in parts])
    order = index.argsort()
    return Scores(index[order], {name: torch.cat([values[name] for _, values in parts])[order] for name in parts[0][1]})
