"""What training sees does not depend on who makes the batches, nor on where it was interrupted."""

import itertools
from dataclasses import dataclass

import pytest
import torch

from mezzotint.data import DataModule, Dataset, ImageSource, TensorImages
from mezzotint.errors import ConfigError, DataError
from mezzotint.randomness import KeyedRandom


@dataclass(frozen=True, kw_only=True)
class Ramp(Dataset):
    """Image i is filled with i at the left and 200 at the right; 31 to train on, 11 held out."""

    shape: tuple[int, int, int] = (1, 2, 2)

    def split(self, name: str) -> ImageSource:
        count = {"train": 31, "test": 11, "all": 42}[name]
        pixels = torch.full((count, *self.shape), 200, dtype=torch.uint8)
        pixels[..., 0] = torch.arange(count, dtype=torch.uint8)[:, None, None]
        return TensorImages(pixels, torch.arange(count) % self.classes if self.classes else None)


@dataclass(frozen=True)
class Broken(TensorImages):
    def batch(self, indices):
        raise DataError("cat.png is cut short")


@dataclass(frozen=True, kw_only=True)
class BrokenRamp(Ramp):
    def split(self, name: str) -> ImageSource:
        return Broken(torch.zeros(4, *self.shape, dtype=torch.uint8))


def module(dataset=None, batch_size=8, seed=5, **more) -> DataModule:
    data = DataModule(dataset or Ramp(classes=10), batch_size, seed, **more)
    data.setup("fit")
    return data


def taken(data: DataModule, count: int) -> list[dict[str, torch.Tensor]]:
    return list(itertools.islice(data.train_dataloader(), count))


def joined(batches) -> dict[str, torch.Tensor]:
    """All batches as one, in the order of positions."""
    whole = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
    order = whole["index"].argsort()
    return {name: value[order] for name, value in whole.items()}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_a_batch():
    (batch,) = taken(module(), 1)
    assert batch["image"].dtype == torch.uint8
    assert batch["image"].shape == (8, 1, 2, 2)
    assert batch["index"].tolist() == list(range(8))
    assert torch.equal(batch["label"], batch["image"][:, 0, 0, 0].long() % 10)


def test_without_classes_there_are_no_labels():
    (batch,) = taken(module(Ramp()), 1)
    assert batch.keys() == {"image", "index"}


def test_resumed_data_goes_on_where_it_stopped():
    whole = taken(module(), 12)
    rest = taken(module(images_seen=5 * 8), 7)
    for a, b in zip(whole[5:], rest, strict=True):
        assert_same(a, b)


@pytest.mark.parametrize(("world", "micro"), [(1, 2), (2, None), (2, 2), (4, 1)])
def test_ranks_and_accumulation_see_the_same_examples(world, micro):
    dataset = Ramp(classes=10, flip=True)
    parts = [module(dataset, rank=rank, world=world, micro_batch=micro) for rank in range(world)]
    steps = 10
    seen = [batch for part in parts for batch in taken(part, steps * part.accumulation)]
    assert_same(joined(seen), joined(taken(module(dataset), steps)))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(workers):
    dataset = Ramp(classes=10, flip=True)
    for a, b in zip(taken(module(dataset, workers=workers), 9), taken(module(dataset), 9), strict=True):
        assert_same(a, b)
    for a, b in zip(module(dataset, workers=workers).val_dataloader(), module(dataset).val_dataloader(), strict=True):
        assert_same(a, b)


def test_an_image_is_flipped_by_its_position():
    batch = joined(taken(module(Ramp(flip=True)), 50))
    flipped = batch["image"][:, 0, 0, 0] == 200
    assert torch.equal(flipped, KeyedRandom(5, batch["index"]).uniform("flip") < 0.5)
    assert 0.4 < flipped.float().mean() < 0.6
    unflipped = joined(taken(module(Ramp()), 50))["image"]
    assert torch.equal(torch.where(flipped[:, None, None, None], batch["image"].flip(-1), batch["image"]), unflipped)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_validation_sees_every_image_once_in_order_and_never_flipped(world):
    loaders = [module(Ramp(flip=True), 6, rank=rank, world=world).val_dataloader() for rank in range(world)]
    for rank, loader in enumerate(loaders):
        batches = list(loader)
        assert len(batches) == len(loader)
        assert torch.cat([batch["index"] for batch in batches]).tolist() == list(range(rank, 11, world))
    whole = joined([batch for loader in loaders for batch in loader])
    assert whole["image"][:, 0, 0, 0].tolist() == list(range(11))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_arrives_as_itself(workers):
    with pytest.raises(DataError, match=r"^cat.png is cut short$"):
        taken(module(BrokenRamp(), 2, workers=workers), 1)


def test_a_batch_that_cannot_be_shared_out_is_refused():
    with pytest.raises(ConfigError, match="batch_size=8 or 10"):
        DataModule(Ramp(), 9, 0, world=2)


def test_lightning_trains_on_it():
    """Ten steps of two micro-batches over an endless loader, validation after each ten micro-batches."""
    from lightning import LightningModule, Trainer

    class Watch(LightningModule):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))
            self.seen, self.held_out = [], []

        def training_step(self, batch, _):
            self.seen += batch["index"].tolist()
            return self.weight * batch["image"].float().mean()

        def validation_step(self, batch, _):
            self.held_out += batch["index"].tolist()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    watch = Watch()
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    often = {"val_check_interval": 10, "check_val_every_n_epoch": None, "num_sanity_val_steps": 0}
    trainer = Trainer(accelerator="cpu", max_steps=10, accumulate_grad_batches=2, **often, **quiet)
    trainer.fit(watch, datamodule=DataModule(Ramp(), 8, 0, micro_batch=4))
    assert watch.seen == list(range(80))
    assert watch.held_out == list(range(11)) * 2
