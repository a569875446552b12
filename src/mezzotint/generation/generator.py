"""The sampling engine: numbered samples, in batches, from any denoiser and sampler."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from mezzotint.data.codecs.base import Codec
from mezzotint.data.codecs.pixels import PixelCodec
from mezzotint.data.dataset import codec_of
from mezzotint.diffusion import (
    Denoise,
    KeyedRandom,
    NoiseLevel,
    NoiseSource,
    Prediction,
    Schedule,
    Spacing,
    StepRecord,
    WhiteNoise,
    sample,
)
from mezzotint.diffusion.guidance.base import move_to
from mezzotint.diffusion.samplers import Sampler
from mezzotint.errors import ConfigError
from mezzotint.finite import Finite
from mezzotint.generation.conditions import ConditionPlan, held_out_conditions

Progress = Callable[[int], None]


class CallCounter:
    """A denoiser that counts the images passing through it; guidance that doubles the batch counts double."""

    def __init__(self, inner: Denoise, tally: list[int]) -> None:
        self.inner, self.tally = inner, tally

    @property
    def schedule(self) -> Schedule:
        return self.inner.schedule

    def begin(self) -> "CallCounter":
        return CallCounter(self.inner.begin(), self.tally)

    def __call__(self, x: Tensor, level: NoiseLevel, **condition: Any) -> Prediction:
        self.tally[0] += len(x)
        return self.inner(x, level, **condition)


@dataclass(frozen=True)
class Trajectory:
    """The denoising of a few images: states of the sampler and the denoiser's estimates of x0, at selected steps.

    Both are stored as samples are, (F, B, C, *size); the last frame of both is the result. States are scaled to a norm
    (alpha, sigma) of 1, because noise of a large sigma would be clipped to black and white.

    Args:
        labels: the class of each image (B,).
        noise: the fraction of noise in each frame, sigma / sqrt(alpha^2 + sigma^2): 0 at the end.
    """

    frames: Tensor
    estimates: Tensor
    labels: Tensor | None = None
    noise: tuple[float, ...] = ()

    def thinned(self, frames: int) -> "Trajectory":
        """Return at most this many frames, spread evenly from the first to the last."""
        count = len(self.frames)
        chosen = torch.linspace(0, count - 1, min(frames, count)).round().long()
        noise = tuple(self.noise[i] for i in chosen.tolist()) if self.noise else ()
        return Trajectory(self.frames[chosen], self.estimates[chosen], self.labels, noise)


@dataclass
class SampleGenerator(metaclass=Finite):
    """A generator of numbered samples: image i is a function of (seed, i), independent of batch, order and rank.

    Its noise is keyed by (seed, i), and its class is round[i % len(round)]; by default a round contains each class
    once, so that whole rounds are balanced.

    Args:
        denoise: a Denoiser in evaluation mode, on its device.
        sampler, grid: the solver and its noise levels; see mezzotint.diffusion.
        shape: (C, *size) of x.
        classes: number of classes; 0 samples without labels.
        batch: images per batch; changes speed and memory, not the images.
        guidance: wraps the denoiser, for example by classifier-free guidance; None for none.
        label: sample only this class; -1 samples unconditionally from a conditional network.
        round: the cycle of classes, int64 (R,).
        codec: turns x into stored samples; by default uint8 images.
        replay: changes how the denoiser is called, not what it computes, such as `graphed`; None calls it as it is.
        conditions: the conditions of each sample beside its class; None for none. Where they come with labels, these
            are the classes, unless `label` or `round` is given.

    Raises:
        ValueError: a batch below 1, or a label that is not a class.
    """

    natural = ("classes",)

    denoise: Denoise
    sampler: Sampler
    grid: Spacing
    shape: tuple[int, ...]
    seed: int = 0
    classes: int = 0
    batch: int = 64
    guidance: Callable[[Denoise], Denoise] | None = None
    label: int | None = None
    round: Tensor | None = None
    codec: Codec = field(default_factory=PixelCodec)
    conditions: ConditionPlan | None = None
    replay: Callable[[Any], Denoise] | None = None

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"batch={self.batch}: give at least one image per batch")
        requested = [] if self.round is None else [int(self.round.min()), int(self.round.max())]
        for label in ([] if self.label is None else [self.label]) + requested:
            if -1 <= label < self.classes:
                continue
            known = f"0 to {self.classes - 1}, or -1 for no class" if self.classes else "this run has no classes"
            raise ValueError(f"label={label} is not a class of this run: {known}")
        self.drawn = 0
        self.tally = [0]
        counted = CallCounter(self.replay(self.denoise) if self.replay else self.denoise, self.tally)
        self.guided = self.guidance(counted) if self.guidance else counted
        if self.device.type != "meta":
            move_to(self.guided, self.device)

    @property
    def calls(self) -> float:
        """Network calls per image, including guidance, over all samples so far."""
        return self.tally[0] / max(1, self.drawn)

    @property
    def device(self) -> torch.device:
        if isinstance(self.denoise, nn.Module):
            return next((p.device for p in self.denoise.parameters()), torch.device("cpu"))
        return torch.device("cpu")

    def labels(self, index: Tensor) -> Tensor | None:
        """Return the class of each sample, (B,) int64, or None without classes."""
        if not self.classes:
            return None
        if self.label is not None:
            return torch.full_like(index, self.label)
        if self.round is not None:
            return self.round[index % len(self.round)]
        planned = None if self.conditions is None else self.conditions.labels(index)
        return index % self.classes if planned is None else planned

    def given(self, index: Tensor) -> dict[str, Tensor]:
        """Return the conditions of each sample by name, its label among them."""
        labels = self.labels(index)
        values = {} if self.conditions is None else self.conditions.values(index)
        return values if labels is None else {"label": labels, **values}

    def batches(
        self, start: int, stop: int, progress: Progress | None = None
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Generate samples start .. stop - 1 in batches of (stored (B, C, *size), labels (B,) or None), on the CPU."""
        for first in range(start, stop, self.batch):
            index = torch.arange(first, min(first + self.batch, stop))
            images = self.codec.decode(self.sample_from(*self.start(index)))
            yield images.cpu(), self.labels(index)
            if progress:
                progress(len(index))

    def images(self, start: int, stop: int, progress: Progress | None = None) -> tuple[Tensor, Tensor | None]:
        """Return samples start .. stop - 1 as data are stored, (N, C, *size), and their labels (N,) or None.

        Args:
            progress: called with the number of images in each batch.

        Raises:
            ValueError: an empty range.
        """
        if stop <= start:
            raise ValueError(f"samples {start} to {stop}: the range is empty. Give a stop above the start")
        images, labels = zip(*self.batches(start, stop, progress), strict=True)
        return torch.cat(images), None if labels[0] is None else torch.cat(labels)

    def chosen(self, numbers: Sequence[int], progress: Progress | None = None) -> tuple[Tensor, Tensor | None]:
        """Return the samples of these numbers as data are stored, (N, C, *size), and their labels (N,) or None."""
        index = torch.tensor(numbers, dtype=torch.int64)
        parts = []
        for part in index.split(self.batch):
            parts.append(self.codec.decode(self.sample_from(*self.start(part))).cpu())
            if progress:
                progress(len(part))
        return torch.cat(parts), self.labels(index)

    def film(self, start: int, stop: int, frames: int = 10) -> Trajectory:
        """Return the trajectory of samples start .. stop - 1 from noise to image, at `frames` evenly spaced steps."""
        return self.film_of(range(start, stop), frames)

    def film_of(self, numbers: Sequence[int], frames: int = 10) -> Trajectory:
        """Return the trajectory of the samples of these numbers. Only the returned steps are kept in memory."""
        steps = len(self.grid(self.guided.schedule)) - 1
        kept = min(frames - 1, steps)
        due = [i * steps // kept for i in range(kept)]  # remaining steps to record
        seen: list[tuple[Tensor, Tensor, float]] = []

        def watch(frame: StepRecord) -> None:
            if not due or frame.index < due[0]:
                return
            while due and due[0] <= frame.index:  # steps without a network call are represented by the next one
                del due[0]
            scale = 1 / frame.level.norm
            seen.append((frame.x.cpu() * scale, frame.prediction.x0.cpu(), float(frame.level.sigma * scale)))

        index = torch.tensor(numbers, dtype=torch.int64)
        last = self.sample_from(*self.start(index), watch).cpu()
        held = torch.stack([*(x for x, _, _ in seen), last])
        taken = torch.stack([*(x0 for _, x0, _ in seen), last])
        shares = (*(share for _, _, share in seen), 0.0)
        held, taken = (self.codec.decode(x.flatten(0, 1)).unflatten(0, x.shape[:2]) for x in (held, taken))
        return Trajectory(held, taken, self.labels(index), shares)

    def start(self, index: Tensor) -> tuple[Tensor, dict[str, Tensor], NoiseSource]:
        """Return what `sample_from` takes for samples of these numbers (B,): noise, conditions, noise of the steps."""
        draws = KeyedRandom(self.seed, index)
        return draws.normal("sample", self.shape), self.given(index), WhiteNoise(draws)

    @torch.no_grad()
    def sample_from(
        self,
        noise: Tensor,
        given: Mapping[str, Tensor],
        steps: NoiseSource,
        watch: Callable[[StepRecord], None] | None = None,
    ) -> Tensor:
        """Return float32 samples x (B, C, *size) that start at this unit noise, on the denoiser's device.

        Args:
            noise: (B, C, *size).
            given: conditions (B, ...) by name, such as `label`.
            steps: noise source of stochastic samplers.
            watch: called after each step.
        """
        condition = {name: value.to(self.device) for name, value in given.items()}
        self.drawn += len(noise)
        noise = noise.to(self.device)
        return sample(self.guided, self.sampler, self.grid, noise, noise=steps, watch=watch, **condition)


@dataclass(frozen=True)
class SamplingRecipe(metaclass=Finite):
    """A sampling configuration: sampler, grid and guidance, without a denoiser."""

    positive = ("batch",)

    sampler: Sampler
    grid: Spacing
    guidance: Callable[[Denoise], Denoise] | None = None
    batch: int = 64

    def steps(self, schedule: Schedule) -> int:
        """Return the number of steps on a schedule."""
        return len(self.grid(schedule)) - 1

    @property
    def takes_steps(self) -> bool:
        """True if the grid has a number of steps that can be changed."""
        return is_dataclass(self.grid) and "steps" in {field.name for field in fields(self.grid)}

    def with_steps(self, steps: int) -> Self:
        """Return the recipe with another number of steps.

        Raises:
            ConfigError: a grid without a number of steps.
        """
        if not self.takes_steps or not is_dataclass(self.grid):
            raise ConfigError(f"steps={steps}: {type(self.grid).__name__} has no such number; leave it out")
        return replace(self, grid=replace(self.grid, steps=steps))

    def of_dataset(self, denoise: Denoise, dataset: Any, seed: int = 0, **more: Any) -> SampleGenerator:
        """Return a generator of samples like the examples of a dataset: of their shape, classes and codec.

        Their conditions are those of the held-out examples, unless `conditions` are given.
        """
        codec = codec_of(dataset)
        if "conditions" not in more:
            more["conditions"] = held_out_conditions(dataset)
        return self.generator(denoise, codec.shape(dataset.shape), seed, dataset.classes, codec=codec, **more)

    def generator(
        self, denoise: Denoise, shape: tuple[int, ...], seed: int = 0, classes: int = 0, **more: Any
    ) -> SampleGenerator:
        """Return a generator that samples from a denoiser in this way."""
        return SampleGenerator(
            denoise, self.sampler, self.grid, tuple(shape), seed, classes, self.batch, self.guidance, **more
        )
