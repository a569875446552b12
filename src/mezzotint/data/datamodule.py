"""From a dataset to the batches of training and validation: the only part of this room that knows Lightning."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from mezzotint.data.dataset import Dataset
from mezzotint.data.image_set import ImageSource
from mezzotint.data.order import Order, Share, micro_batches
from mezzotint.errors import ConfigError, DataError
from mezzotint.instantiate.finite import Finite
from mezzotint.randomness import KeyedRandom

Batch = dict[str, Tensor]


def flip_(pixels: Tensor, seed: int, positions: Tensor) -> None:
    """Mirrors left and right, in place, every image whose f(seed, "flip", position) says so: half of them."""
    chosen = (KeyedRandom(seed, positions).uniform("flip") < 0.5).numpy()
    array = pixels.numpy()  # the same memory; numpy moves bytes five times faster here
    array[chosen] = array[chosen, ..., ::-1]


@dataclass(frozen=True, eq=False)
class TrainBatches(TorchDataset):
    """Micro-batch m of the endless training data of one process, for every m >= 0."""

    images: ImageSource
    order: Order
    share: Share
    flip: bool

    def __getitem__(self, micro: int) -> Batch:
        positions = self.share.positions(micro)
        pixels, labels = self.images.batch(self.order.indices(positions))
        if self.flip:
            flip_(pixels, self.order.seed, positions)
        return _named(pixels, positions, labels)

    def keys(self, first: int) -> Iterator[int]:
        return itertools.count(first)


@dataclass(frozen=True, eq=False)
class ValidationBatches(TorchDataset):
    """The test images in their order: process r of w holds r, r + w, ...; nothing is padded, repeated or flipped."""

    images: ImageSource
    share: Share

    def __getitem__(self, number: int) -> Batch:
        size = self.share.size
        mine = torch.arange(self.share.rank, len(self.images), self.share.world)[number * size : (number + 1) * size]
        pixels, labels = self.images.batch(mine)
        return _named(pixels, mine, labels)

    def __len__(self) -> int:
        mine = len(range(self.share.rank, len(self.images), self.share.world))
        return -(-mine // self.share.size)

    def keys(self, first: int) -> range:
        return range(first, len(self))


def _named(pixels: Tensor, index: Tensor, labels: Tensor | None) -> Batch:
    batch = {"image": pixels, "index": index}
    return batch if labels is None else batch | {"label": labels}


@dataclass(frozen=True, eq=False)
class Loader:
    """Hands out batches in the order of their keys, made here or by worker processes: the result is the same.

    A worker sends an error about the data as a value, so that it arrives as itself and not inside a traceback.

    Args:
        first: the key to begin at, asked whenever somebody begins.
    """

    batches: TrainBatches | ValidationBatches
    workers: int = 0
    first: Callable[[], int] = int

    def __iter__(self) -> Iterator[Batch]:
        pin = torch.cuda.is_available()
        if not self.workers:
            made = map(self.batches.__getitem__, self.batches.keys(self.first()))
            yield from (_pinned(batch) for batch in made) if pin else made
            return
        keys, guarded = self.batches.keys(self.first()), _Guarded(self.batches)
        for batch in DataLoader(guarded, None, sampler=keys, num_workers=self.workers, pin_memory=pin):
            if isinstance(batch, DataError):
                raise batch
            yield batch


class FiniteLoader(Loader):
    """A loader with an end."""

    def __len__(self) -> int:
        return len(self.batches)


@dataclass(frozen=True, eq=False)
class _Guarded(TorchDataset):
    batches: TrainBatches | ValidationBatches

    def __getitem__(self, key: int) -> Batch | DataError:
        try:
            return self.batches[key]
        except DataError as error:
            return error


def _pinned(batch: Batch) -> Batch:
    return {name: value.pin_memory() for name, value in batch.items()}


class DataModule(LightningDataModule, metaclass=Finite):
    """Batches {"image": uint8 (B, C, H, W), "index": int64 (B,), "label": int64 (B,) if there are classes}.

    In training, index is the position p of `mezzotint.data.order`, the name by which all random numbers of the example
    are drawn; in validation, the number of the test image.

    A Trainer that it is given to says which process this is, how many there are, how many micro-batches a step has, and
    by its steps where it goes on: in a new epoch and from a checkpoint as well, but for `overfit_batches`, which wants
    the same batches again.

    Args:
        dataset: the `data` node.
        batch_size: images a step, over all processes.
        seed: of the run.
        images_seen: where training goes on.
        rank: which process this is.
        world: how many processes there are.
        micro_batch: images that a process holds at once; left out, its whole share of a step.
        workers: processes that decode images; 0 is fastest for a set in memory.
    """

    positive = ("world", "micro_batch")
    natural = ("images_seen", "rank", "workers")

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        seed: int,
        images_seen: int = 0,
        rank: int = 0,
        world: int = 1,
        micro_batch: int | None = None,
        workers: int = 0,
    ) -> None:
        super().__init__()
        self.dataset, self.batch_size, self.seed, self.workers = dataset, batch_size, seed, workers
        self.micro_batch, self.accumulation = micro_batches(batch_size, world, micro_batch)
        self.share = Share(self.micro_batch, rank, world, images_seen)
        self.train: ImageSource | None = None
        self.test: ImageSource | None = None

    def setup(self, stage: str | None = None) -> None:
        """Reads the data, on every process: nothing is kept that only the first one would have."""
        if self.trainer is not None:
            self.follow(self.trainer)
        if self.train is None:
            self.train, self.test = self.dataset.split("train"), self.dataset.split("test")

    def follow(self, trainer: Any) -> None:
        """Take one's share of the batch from a Trainer.

        Raises:
            ConfigError: the batch cannot be shared out so.
        """
        world, parts = trainer.world_size, trainer.accumulate_grad_batches
        if self.batch_size % (world * parts):
            raise ConfigError(
                f"batch_size={self.batch_size} is the images of a step, over all processes and micro-batches: with "
                f"{world} process(es) and accumulate_grad_batches={parts} it must be a multiple of {world * parts}"
            )
        self.micro_batch, self.accumulation = self.batch_size // (world * parts), parts
        self.share = Share(self.micro_batch, trainer.global_rank, world, self.share.start)

    def position(self) -> int:
        """The micro-batch at which training goes on, counted from `images_seen`."""
        trainer = self.trainer
        return 0 if trainer is None or trainer.overfit_batches else trainer.global_step * self.accumulation

    def train_dataloader(self) -> Any:
        order = Order(self.seed, len(self.train))
        return Loader(TrainBatches(self.train, order, self.share, self.dataset.flip), self.workers, self.position)

    def val_dataloader(self) -> Any:
        return FiniteLoader(ValidationBatches(self.test, self.share), self.workers)
