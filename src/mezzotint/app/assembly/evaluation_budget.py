"""The final evaluation of a run: numbers of images that cost at most a share of its training.

Counted in floating-point operations from the config alone, never by a clock, so that a run that is resumed on another
machine is evaluated with the same images.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count

import torch
from torch.utils.flop_counter import FlopCounterMode

from mezzotint.app.assembly.parts import Components
from mezzotint.app.assembly.tracing import forward_flops
from mezzotint.app.config.job import Job
from mezzotint.app.results.evaluation_protocol import MOST_SAMPLES
from mezzotint.data.dataset import coded_shape
from mezzotint.metrics import Extractor, Metric, feature_metrics
from mezzotint.training.callbacks.base import own

GRID_IMAGES, FILM_IMAGES = 64, 8  # images in the grid and in the film strip
FEWEST = 16  # samples that are evaluated at any cost
NEGLIGIBLE = 2e10  # operations that any machine does in seconds: fewer samples would save nothing
PICTURE_SHARE = 0.35  # of the share that sampling and evaluation may take, for the grid and the film strip


@dataclass(frozen=True)
class EvaluationBudget:
    """Numbers of images of the final evaluation, and their cost in floating-point operations.

    Args:
        pictures: images in the grid.
        samples, reference: generated and real images whose features are extracted; 0 without feature metrics.
        unbounded: `samples` and `reference` without the bound.
        repeats: how often so many samples are evaluated: once a seed, and as often for the best checkpoint.
        sample_cost, feature_cost: operations to generate an image, and to extract its features.
        training_cost: operations of the training; 0 if they cannot be counted.
    """

    pictures: int
    samples: int
    reference: int
    unbounded: tuple[int, int]
    repeats: int
    sample_cost: float
    feature_cost: float
    training_cost: float

    @property
    def cost(self) -> float:
        return self.evaluation_cost + (self.pictures + FILM_IMAGES) * self.sample_cost

    @property
    def evaluation_cost(self) -> float:
        return self.repeats * self.samples * (self.sample_cost + self.feature_cost) + self.reference * self.feature_cost

    @property
    def share(self) -> float:
        """The cost of sampling and evaluation as a share of training; 0 if the network's cannot be counted."""
        return self.cost / self.training_cost if self.training_cost else 0.0

    @property
    def reduced(self) -> bool:
        return (self.samples, self.reference) != tuple(self.unbounded)

    def limit(self, job: Job) -> Job:
        """Return the job with these numbers of images, where they are fewer than the job's own."""
        return replace(job, n=self.samples, reference_images=self.reference) if self.reduced else job

    def __str__(self) -> str:
        samples, reference = self.unbounded
        return (
            f"{self.samples:,} samples against {self.reference:,} of the reference instead of {samples:,} against "
            f"{reference:,}, which would exceed evaluation_share=; n= lifts that bound"
        )


def evaluation_budget(
    job: Job, components: Components, metrics: Mapping[str, Metric], calls: float, real: int
) -> EvaluationBudget:
    """Plan the evaluation at the end of a run. A network whose operations cannot be counted sets no bound.

    Args:
        metrics: planned ones; extractors whose weights have not been fetched cost nothing.
        calls: network calls for one image.
        real: images of the reference; 0 if its statistics are known, or it is not available.
    """
    featured = feature_metrics(dict(metrics))
    shape = tuple(components.dataset.shape)
    forward = forward_flops(components.denoiser.network, coded_shape(components.dataset))
    features = sum(extractor_flops(extractor, shape) for extractor in {one.extractor for one in featured.values()})
    wanted = job.n or min(real or MOST_SAMPLES, MOST_SAMPLES), min(real, job.reference_images or real)
    if not featured:
        wanted = (wanted[0] if any(metric.scores_samples for metric in metrics.values()) else 0), 0
    while_training = any(callback.evaluates for callback in own(components.callbacks).values())
    repeats = job.seeds * (1 + while_training)
    training = 3 * forward * job.budget
    unbounded = EvaluationBudget(GRID_IMAGES, *wanted, wanted, repeats, calls * forward, features, training)
    if job.evaluation_share is None or not forward:
        return unbounded
    return bounded(unbounded, job.evaluation_share, fewest_images(featured))


def bounded(unbounded: EvaluationBudget, share: float, fewest: tuple[int, int]) -> EvaluationBudget:
    """Return the most images that cost at most `share` of the training's arithmetic, pictures included."""
    pictures, drawing = unbounded.pictures, PICTURE_SHARE * min(share, 1.0) * unbounded.training_cost
    each, features = unbounded.sample_cost, unbounded.feature_cost
    if (pictures + FILM_IMAGES) * each > max(drawing, NEGLIGIBLE):
        pictures = max(FILM_IMAGES, int(drawing / each) - FILM_IMAGES)
    found = replace(unbounded, pictures=min(GRID_IMAGES, pictures))
    allowed = max(share * unbounded.training_cost - (found.cost - found.evaluation_cost), NEGLIGIBLE)
    if found.evaluation_cost <= allowed:
        return found
    samples, reference = unbounded.unbounded
    fits = [n for n in rounded(samples) if n * (unbounded.repeats * (each + features) + features) <= allowed]
    samples = min(samples, max([FEWEST, fewest[0], *fits]))
    left = allowed - unbounded.repeats * samples * (each + features)
    fits = [n for n in rounded(reference) if n * features <= left]
    reference = min(reference, max([samples, fewest[1], *fits]))
    return replace(found, samples=samples, reference=reference)


def rounded(most: int) -> Iterator[int]:
    """Yield 1, 2, 5, 10, 20, ... below `most`, then `most`, so that small changes of a network keep the number."""
    for power in count():
        for digit in (1, 2, 5):
            if digit * 10**power >= most:
                yield most
                return
            yield digit * 10**power


def fewest_images(metrics: Mapping[str, Metric]) -> tuple[int, int]:
    """Return the numbers of generated and real images that the metrics need."""
    generated, real = (
        [metric.min_images().get(side, 0) for metric in metrics.values()] for side in ("generated", "real")
    )
    return max(generated, default=0), max(real, default=0)


@lru_cache
def extractor_flops(extractor: Extractor, shape: tuple[int, ...]) -> float:
    """Operations of an extractor for one image; 0 if its weights have not been fetched."""
    if not extractor.fetched:
        return 0.0
    extractor.network.to("cpu")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        extractor.forward(extractor.blank(shape))
    return float(counter.get_total_flops())
