"""Edits of given examples in batches: each a function of seed and name of the example."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from mezzotint.data.image_set import ImageSource
from mezzotint.diffusion import KeyedRandom, RestorationMethod
from mezzotint.generation.editing.base import Edits, EditTask, Given
from mezzotint.generation.generator import Progress, SampleGenerator


@dataclass(frozen=True, eq=False)
class GivenExamples:
    """Examples to edit, in a fixed order.

    Args:
        images: the examples as they are stored.
        order: the number in `images` of each example, (N,) int64.
        names: their names.
        keys: of their random numbers, (N,) int64.
    """

    images: ImageSource
    order: Tensor
    names: tuple[str, ...]
    keys: Tensor

    @classmethod
    def named(cls, images: ImageSource, names: tuple[str, ...]) -> Self:
        """Return examples in their own order, whose random numbers are keyed by their names."""
        keys = [int.from_bytes(hashlib.blake2b(name.encode(), digest_size=7).digest(), "little") for name in names]
        return cls(images, torch.arange(len(names)), names, torch.tensor(keys, dtype=torch.int64))

    def first(self, count: int | None) -> "GivenExamples":
        """Return the first examples."""
        return GivenExamples(self.images, self.order[:count], self.names[:count], self.keys[:count])

    def __len__(self) -> int:
        return len(self.names)

    def batch(self, rows: Tensor) -> Tensor:
        """Return stored examples (B, C, *size)."""
        return self.images.batch(self.order[rows])[0]


@dataclass
class EditGenerator(SampleGenerator):
    """A generator whose sample i is the edit of given example i, with the conditions of sample i.

    Args:
        examples: the given ones.
        task: what becomes of them.
        method: of inverse problems; None takes the default.
        example: the shape of the model's examples as they are stored.
    """

    examples: GivenExamples = None  # type: ignore[assignment]
    task: EditTask = None  # type: ignore[assignment]
    method: RestorationMethod | None = None
    example: tuple[int, ...] = ()

    @classmethod
    def around(
        cls,
        generator: SampleGenerator,
        examples: GivenExamples,
        task: EditTask,
        example: tuple[int, ...],
        method: RestorationMethod | None = None,
    ) -> Self:
        """Return a generator of edits that samples as another generator does."""
        settings = {item.name: getattr(generator, item.name) for item in fields(SampleGenerator)}
        return cls(**settings, examples=examples, task=task, method=method, example=example)

    @property
    def rows(self) -> int:
        """Number of edits."""
        return len(self.examples) - self.task.pairs

    def edits(self, start: int, stop: int, progress: Progress | None = None) -> Iterator[tuple[Tensor, Edits]]:
        """Generate edits start .. stop - 1 in batches, with their numbers (B,)."""
        for first in range(start, stop, self.batch):
            index = torch.arange(first, min(first + self.batch, stop))
            yield index, self.edit(index)
            if progress:
                progress(len(index))

    @torch.no_grad()
    def edit(self, index: Tensor) -> Edits:
        """Return the edits of these numbers (B,)."""
        examples, last = self.examples, len(self.examples) - 1
        stored = examples.batch(index).to(self.device)
        partner = examples.batch((index + 1).clamp(max=last)).to(self.device) if self.task.pairs else stored
        self.drawn += len(index)
        return self.task.edit(
            Given(
                stored=stored,
                partner=partner,
                draws=KeyedRandom(self.seed, examples.keys[index]),
                names=tuple(examples.names[i] for i in index.tolist()),
                condition={name: value.to(self.device) for name, value in self.given(index).items()},
                denoise=self.guided,
                sampler=self.sampler,
                grid=self.grid,
                shape=self.shape,
                example=self.example,
                codec=self.codec,
                method=self.method,
            )
        )

    def batches(
        self, start: int, stop: int, progress: Progress | None = None
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Generate the first result of each example, as `SampleGenerator` generates samples."""
        for index, edits in self.edits(start, stop, progress):
            yield edits.results[:, 0], self.labels(index)
