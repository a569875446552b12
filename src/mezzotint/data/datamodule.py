"""Batches of training and validation from a dataset; the only module of this package that imports Lightning."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from mezzotint.data.conditions import ConditionValues, condition_values
from mezzotint.data.dataset import Dataset, examples_of
from mezzotint.data.image_files.on_access import OnAccess
from mezzotint.data.image_set import ImageSource
from mezzotint.data.loader import Batch, FiniteLoader, Loader, LoaderSpeed, Workers
from mezzotint.data.order import Order, Share, micro_batches
from mezzotint.errors import ConfigError
from mezzotint.finite import Finite
from mezzotint.randomness import KeyedRandom


@dataclass(frozen=True, eq=False)
class TrainBatches(TorchDataset):
    """The endless training data of one process, by micro-batch m >= 0."""

    images: ImageSource
    order: Order
    share: Share
    flip: bool
    conditions: ConditionValues = ConditionValues()

    def __getitem__(self, micro: int) -> Batch:
        positions = self.share.positions(micro)
        indices = self.order.indices(positions)
        random = KeyedRandom(self.order.seed, positions)
        images, flipped = self.images.drawn(random), random.uniform("flip") < 0.5 if self.flip else None
        pixels, labels = images.batch(indices) if flipped is None else images.flipped(indices, flipped)
        return _named(pixels, positions, labels) | self.conditions.batch(indices, pixels, flipped)

    def keys(self, first: int) -> Iterator[int]:
        return itertools.count(first)


@dataclass(frozen=True, eq=False)
class ValidationBatches(TorchDataset):
    """The test images in order: process r of w has r, r + w, ...; nothing is padded, repeated or flipped."""

    images: ImageSource
    share: Share
    conditions: ConditionValues = ConditionValues()

    def __getitem__(self, number: int) -> Batch:
        size = self.share.size
        mine = torch.arange(self.share.rank, len(self.images), self.share.world)[number * size : (number + 1) * size]
        pixels, labels = self.images.batch(mine)
        return _named(pixels, mine, labels) | self.conditions.batch(mine, pixels)

    def __len__(self) -> int:
        mine = len(range(self.share.rank, len(self.images), self.share.world))
        return -(-mine // self.share.size)

    def keys(self, first: int) -> range:
        return range(first, len(self))


def _named(pixels: Tensor, index: Tensor, labels: Tensor | None) -> Batch:
    batch = {"image": pixels, "index": index}
    return batch if labels is None else batch | {"label": labels}


class DataModule(LightningDataModule, metaclass=Finite):
    """Batches {"image": uint8 (B, C, H, W), "index": int64 (B,), "label": int64 (B,) if there are classes, ...}.

    Further names are those of the dataset's conditions, (B, ...) each.

    In training, index is the position p of `mezzotint.data.order`, the key of all random numbers of the example; in
    validation, the number of the test image.

    Under a Trainer the rank, the world size, the micro-batches per step and the position follow from the Trainer, in
    new epochs and from checkpoints as well, except with `overfit_batches`, which repeats the same batches.

    Args:
        dataset: the `data` node.
        batch_size: images per step, over all processes.
        seed: the seed of the run.
        images_seen: images seen before this training.
        rank: rank of this process.
        world: number of processes.
        micro_batch: images per forward pass of a process; by default its share of a step.
        workers: worker processes that decode images; 0 is fastest for a dataset in memory, "auto" measures.
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
        workers: Workers = 0,
    ) -> None:
        super().__init__()
        self.dataset, self.batch_size, self.seed, self.workers = dataset, batch_size, seed, workers
        self.micro_batch, self.accumulation = micro_batches(batch_size, world, micro_batch)
        self.share = Share(self.micro_batch, rank, world, images_seen)
        self.train: ImageSource | None = None
        self.test: ImageSource | None = None
        self.conditions: dict[str, ConditionValues] = {}
        self.speed = LoaderSpeed(workers)

    def setup(self, stage: str | None = None) -> None:
        """Read the data, on every process."""
        if self.trainer is not None:
            self.follow(self.trainer)
        if self.train is None:
            self.train, self.test = examples_of(self.dataset, "train"), examples_of(self.dataset, "test")
            self.speed.measure(isinstance(self.train, OnAccess))
            self.conditions = {name: condition_values(self.dataset, name) for name in ("train", "test")}

    def follow(self, trainer: Any) -> None:
        """Take rank, world size and accumulation from a Trainer.

        Raises:
            ConfigError: the batch size is not divisible by processes times micro-batches.
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
        """Return the micro-batch at which training continues, counted from `images_seen`."""
        trainer = self.trainer
        return 0 if trainer is None or trainer.overfit_batches else trainer.global_step * self.accumulation

    def train_dataloader(self) -> Any:
        order = Order(self.seed, len(self.train))
        batches = TrainBatches(self.train, order, self.share, self.dataset.flip, self.conditions["train"])
        return Loader(batches, self.position, self.speed)

    def val_dataloader(self) -> Any:
        return FiniteLoader(ValidationBatches(self.test, self.share, self.conditions["test"]), int, self.speed)
