"""Batches of any data module as the dict that the loss takes: image, index and, where there are classes, label."""

import inspect
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mezzotint.errors import DataError

Batch = dict[str, Tensor]


class CountsExamples(Protocol):
    """A module in a Trainer: images a step, and the numbers of the examples of the step so far."""

    labelled: bool
    batch_size: int | None
    index: list[Tensor]
    trainer: Any


def named(batch: Any, labelled: bool = True) -> Batch:
    """A batch as {"image": (B, C, H, W), ...}: of a dict with these names, a pair of images and labels, or images.

    Args:
        labelled: whether the network takes the labels of a pair.

    Raises:
        DataError: it is something else.
    """
    found, given = {}, f"is a {type(batch).__name__}"
    match batch:
        case Tensor():
            found = {"image": batch}
        case [image]:
            found = {"image": image}
        case [image, label]:
            found = {"image": image, "label": label} if labelled else {"image": image}
        case dict():
            found, given = batch, f"holds {', '.join(map(str, batch))}"
    match found.get("image"):
        case Tensor() as image if image.ndim > 1:
            return found
    raise DataError(
        "a batch is a dict of image, uint8 or in the network's range (B, C, H, W), label where there are classes, and "
        f"index where the data module numbers its examples; or a pair (image, label); or images; this one {given}. "
        "Examples of one index have the same times and noise: count them on through all epochs, as "
        "mezzotint.data.DataModule does."
    )


def numbered(module: CountsExamples, batch: Any, held_out: int | None = None) -> Batch:
    """A batch with an index, int64 (B,) on the CPU: its own, or one that counts the images that the module has seen.

    Args:
        held_out: how many examples of the validation data this rank has seen before; None for training.
    """
    batch = named(batch, module.labelled)
    if "index" in batch:
        return batch
    trainer = module.trainer
    counted = sum(map(len, module.index)) if held_out is None else held_out
    seen = trainer.global_step * module.batch_size if held_out is None else 0
    index = torch.arange(len(batch["image"])) + counted
    return batch | {"index": seen + trainer.global_rank + trainer.world_size * index}


def takes_labels(network: nn.Module) -> bool:
    """Return whether a network has an argument `label`."""
    return "label" in inspect.signature(network.forward).parameters


def moved(batch: Batch, device: torch.device) -> Batch:
    """A batch on a device, but for the index, from which random numbers are made on the CPU."""
    return {name: part if name == "index" else part.to(device, non_blocking=True) for name, part in batch.items()}
