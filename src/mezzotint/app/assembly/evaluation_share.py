"""The look at a trained run: how many images are drawn and judged, and against how many, within a share of its cost.

Counted in floating-point operations from the config alone, never by a clock, so that a run that goes on elsewhere is
judged by the same images.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from mezzotint.app.assembly.cost import calls, forward
from mezzotint.app.assembly.parts import Components, assemble, plan_metrics
from mezzotint.app.config.job import Job
from mezzotint.app.results.references import open_reference
from mezzotint.data.dataset import coded_shape
from mezzotint.errors import MezzotintError
from mezzotint.metrics import Extractor, Metric, feature_metrics
from mezzotint.training import SampleMetrics

MANY = 10_000  # images judged, where n is not given and the reference has more
PICTURES, FILM = 64, 8  # images in the grid and in the film
FEWEST = 16  # images that are judged whatever they cost
FREE = 2e10  # operations that any machine does in seconds: nothing is saved by doing fewer
OF_PICTURES = 0.35  # of the share that drawing and evaluation may take, for the grid and the film


@dataclass(frozen=True)
class Look:
    """Numbers of images, and what they cost in floating-point operations.

    Args:
        pictures: in the grid.
        judged, reference: drawn images and real ones that pass through extractors; 0 where nothing is judged.
        whole: what `judged` and `reference` would be without a bound.
        times: how often so many are drawn and judged: for each seed, and of the best checkpoint too.
        draw, extract: the cost of drawing an image, and of its features.
        training: the cost of the training.
    """

    pictures: int
    judged: int
    reference: int
    whole: tuple[int, int]
    times: int
    draw: float
    extract: float
    training: float

    @property
    def cost(self) -> float:
        return self.judging + (self.pictures + FILM) * self.draw

    @property
    def judging(self) -> float:
        return self.times * self.judged * (self.draw + self.extract) + self.reference * self.extract

    @property
    def share(self) -> float:
        """What drawing and judging cost as a share of training; 0 where the network cannot be counted."""
        return self.cost / self.training if self.training else 0.0

    @property
    def reduced(self) -> bool:
        return (self.judged, self.reference) != self.whole

    def limit(self, job: Job) -> Job:
        """Return the job with these numbers of images, where they are fewer than the job's own."""
        return replace(job, n=self.judged, reference_images=self.reference) if self.reduced else job

    def __str__(self) -> str:
        judged, reference = self.whole
        return (
            f"{self.judged:,} samples judged against {self.reference:,} real images, not {judged:,} against "
            f"{reference:,}, which would cost more of the training than evaluation_share= allows; n= lifts that bound"
        )


def final(job: Job) -> Look:
    """The look at the end of a run, of which nothing but its config is known."""
    parts = assemble(job, device="meta")
    return look(job, parts, plan_metrics(job, parts.dataset.shape), count_real(job, parts.dataset))


def final_share(job: Job) -> float:
    """Return what the final sampling and evaluation cost as a share of the training; 0 where it cannot be counted."""
    try:
        return final(job).share
    except MezzotintError:  # said where the evaluation begins
        return 0.0


def count_real(job: Job, dataset: Any) -> int:
    """Images of the reference; 0 of statistics, which cost nothing."""
    reference = open_reference(job.reference, dataset)
    return 0 if reference.shape is None else len(reference.images)


def look(job: Job, parts: Components, metrics: dict[str, Metric], real: int) -> Look:
    """What is drawn and judged when the budget is spent.

    Args:
        metrics: the planned ones; extractors whose weights are not here yet count as nothing.
        real: images of the reference; 0 where its statistics are known, or it is not here.
    """
    featured = feature_metrics(metrics)
    shape = tuple(parts.dataset.shape)
    once = forward(parts.denoiser.network, coded_shape(parts.dataset))
    extract = sum(passes(extractor, shape) for extractor in {metric.extractor for metric in featured.values()})
    wanted = job.n or min(real or MANY, MANY), min(real, job.reference_images or real)
    if not featured:
        wanted = 0, 0
    times = job.seeds * (1 + any(isinstance(callback, SampleMetrics) for callback in parts.callbacks.values()))
    training = 3 * once * job.budget
    whole = Look(PICTURES, *wanted, wanted, times, calls(parts) * once, extract, training)
    return whole if job.evaluation_share is None else bounded(whole, job.evaluation_share, least(featured))


def bounded(whole: Look, share: float, least: tuple[int, int]) -> Look:
    """Return the most images that cost at most `share` of the training's arithmetic, pictures included."""
    pictures, drawing = whole.pictures, OF_PICTURES * min(share, 1.0) * whole.training
    if (pictures + FILM) * whole.draw > max(drawing, FREE):
        pictures = max(FILM, int(drawing / whole.draw) - FILM)
    found = replace(whole, pictures=min(PICTURES, pictures))
    allowed = max(share * whole.training - (found.cost - found.judging), FREE)
    if found.judging <= allowed:
        return found
    judged, reference = whole.whole
    fits = [n for n in rounded(judged) if n * (whole.times * (whole.draw + whole.extract) + whole.extract) <= allowed]
    judged = min(judged, max([FEWEST, least[0], *fits]))
    left = allowed - whole.times * judged * (whole.draw + whole.extract)
    fits = [n for n in rounded(reference) if n * whole.extract <= left]
    reference = min(reference, max([judged, least[1], *fits]))
    return replace(found, judged=judged, reference=reference)


def rounded(most: int) -> Iterator[int]:
    """1, 2, 5, 10, 20, ... below `most`, and `most`: so that small changes of a network judge as many images."""
    for power in count():
        for digit in (1, 2, 5):
            if digit * 10**power >= most:
                yield most
                return
            yield digit * 10**power


def least(metrics: Mapping[str, Metric]) -> tuple[int, int]:
    """How many drawn and real images the metrics need."""
    drawn, real = ([metric.min_images().get(side, 0) for metric in metrics.values()] for side in ("generated", "real"))
    return max(drawn, default=0), max(real, default=0)


@lru_cache
def passes(extractor: Extractor, shape: tuple[int, ...]) -> float:
    """Operations of an extractor for one image; 0 where its weights would have to be fetched first."""
    if not extractor.fetched:
        return 0.0
    extractor.network.to("cpu")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        extractor.forward(extractor.blank(shape))
    return float(counter.get_total_flops())
