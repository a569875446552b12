"""Loaders of batches in the order of their keys, and their speed beside that of the training they feed."""

import itertools
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from mezzotint.distributed import rank_and_world
from mezzotint.errors import DataError

Batch = dict[str, Tensor]
Workers = int | Literal["auto"]

WARM, TIMED = 3, 8  # batches before the measurement, and in it
SPARE = 1.25  # speed of the loader beside that of the training which workers=auto aims at
SLOW = 0.1  # fraction of the time that training may wait for batches without a warning


class Batches(Protocol):
    """Batches by key."""

    def __getitem__(self, key: int) -> Batch: ...

    def keys(self, first: int) -> Iterable[int]: ...


class FiniteBatches(Batches, Protocol):
    """A finite number of batches."""

    def __len__(self) -> int: ...


@dataclass
class LoaderSpeed:
    """The measured speed of a loader beside the training it feeds, and the number of workers chosen by it.

    Args:
        workers: "auto" chooses the number when it has been measured; the first batches are made without workers.
    """

    workers: Workers = 0
    chosen: int = field(init=False)
    done: bool = field(init=False, default=True)

    def __post_init__(self) -> None:
        self.chosen = 0 if self.workers == "auto" else self.workers

    def measure(self, decoded: bool) -> None:
        """Measure the first batches, if the images are decoded while training or there are workers."""
        self.done = not decoded and self.workers == 0

    def settle(self, images: int, load: float, wait: float, total: float) -> None:
        """Choose the number of workers and print the line.

        Args:
            images: images of a batch.
            load: seconds in which one process makes a batch.
            wait: seconds that training waited for a batch.
            total: seconds of a step.
        """
        self.done, step = True, max(total - wait, 1e-9)
        if self.workers == "auto":
            self.chosen = min(self.most(), math.ceil(SPARE * load / step)) if load > SLOW * step else 0
        if rank_and_world()[0] == 0:
            print(self.line(images / load, images / step, wait / total), file=sys.stderr)

    def line(self, loader: float, training: float, waiting: float) -> str:
        """Return both speeds in images per second, and a warning if the loader is slower."""
        count = self.chosen or 1
        made = f"{loader:,.0f} images/s by one process"
        if self.chosen > 1:
            made += f", about {loader * count:,.0f} by {count} workers"
        chosen = f" (hardware.workers=auto: {self.chosen})" if self.workers == "auto" else ""
        said = f"data: the loader makes {made}{chosen}, and training takes {training:,.0f} images/s"
        slow = waiting > SLOW if self.workers != "auto" else loader * count < training and loader < training
        return said + (f". {self.advice(training / loader, waiting)}" if slow else "")

    def advice(self, ratio: float, waiting: float) -> str:
        """Return a warning, with the number of workers that would keep up."""
        wanted = min(self.most(), math.ceil(SPARE * ratio))
        more = f"hardware.workers={wanted} helps, or " if wanted > self.chosen else ""
        said = f"Training waits for images {waiting:.0%} of the time"
        return f"{said}: {more}convert them once by `mezzotint prepare ... out=FILE.npy`"

    def most(self) -> int:
        """Return the workers that the cores have room for, beside the training itself."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(0, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")) - 1)


@dataclass(frozen=True, eq=False)
class Loader:
    """Iterates over batches in the order of their keys, with or without worker processes: the result is the same.

    Workers return a DataError as a value, so that it is raised here without the worker's traceback.

    Args:
        batches: the batches by key.
        first: returns the first key, called at the start of each iteration.
        speed: the number of workers, which measuring the first batches may choose.
    """

    batches: Batches
    first: Callable[[], int] = int
    speed: LoaderSpeed = field(default_factory=LoaderSpeed)

    def __iter__(self) -> Iterator[Batch]:
        keys = iter(self.batches.keys(self.first()))
        yield from self._made(keys, self.speed.chosen) if self.done else self._measured(keys, self.speed)

    @property
    def done(self) -> bool:
        """Return whether nothing is to be measured."""
        return self.speed.done

    def _measured(self, keys: Iterator[int], speed: LoaderSpeed) -> Iterator[Batch]:
        """Yield all batches; measure the first ones, then go on with the number of workers chosen by that."""
        before, key = speed.chosen, next(keys)
        made = self._made(itertools.chain([key], keys), before)
        load = self._seconds(key) if before else 0.0
        images, waits, totals = 0, [], []
        for _ in range(WARM + TIMED):
            began = time.perf_counter()
            batch = next(made)
            waits.append(time.perf_counter() - began)
            images = len(batch["index"])
            yield batch
            if torch.cuda.is_available():
                torch.cuda.synchronize()  # of these few steps alone
            totals.append(time.perf_counter() - began)
        wait = statistics.median(waits[WARM:])
        speed.settle(images, load or wait, wait, statistics.median(totals[WARM:]))
        yield from made if speed.chosen == before else self._made(keys, speed.chosen)

    def _seconds(self, key: int) -> float:
        """Return the time in which this process makes a batch."""
        began = time.perf_counter()
        self.batches[key]
        return time.perf_counter() - began

    def _made(self, keys: Iterator[int], workers: int) -> Iterator[Batch]:
        pin = torch.cuda.is_available()
        if not workers:
            made = map(self.batches.__getitem__, keys)
            yield from (_pinned(batch) for batch in made) if pin else made
            return
        guarded = _Guarded(self.batches)
        for batch in DataLoader(guarded, None, sampler=keys, num_workers=workers, pin_memory=pin):  # type: ignore
            if isinstance(batch, DataError):
                raise batch
            yield batch


class FiniteLoader(Loader):
    """A loader of a finite number of batches."""

    batches: FiniteBatches

    @property
    def done(self) -> bool:
        return True

    def __len__(self) -> int:
        return len(self.batches)


@dataclass(frozen=True, eq=False)
class _Guarded(TorchDataset):
    batches: Batches

    def __getitem__(self, key: int) -> Batch | DataError:
        try:
            return self.batches[key]
        except DataError as error:
            return error


def _pinned(batch: Batch) -> Batch:
    return {name: value.pin_memory() for name, value in batch.items()}
