"""Batches of any data module as the dict that the loss takes: image, index and, where there are classes, label."""

import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mezzotint.errors import DataError

if TYPE_CHECKING:
    from mezzotint.training.module import DiffusionModule

Batch = dict[str, Tensor]


def named(batch: Any, labelled: bool = True) -> Batch:
    """A batch as {"image": (B, C, H, W), ...}: of a dict with these names, a pair of images and labels, or images.

    Args:
        labelled: whether the network takes the labels of a pair.

    Raises:
        DataError: it is something else.
    """
    found = batch
    if isinstance(batch, Tensor):
        found = {"image": batch}
    elif isinstance(batch, (list, tuple)) and 1 <= len(batch) <= 2:
        found = dict(zip(("image", "label") if labelled else ("image",), batch, strict=False))
    image = found.get("image") if isinstance(found, dict) else None
    if isinstance(image, Tensor) and image.ndim > 1:
        return found
    given = f"holds {', '.join(map(str, batch))}" if isinstance(batch, dict) else f"is a {type(batch).__name__}"
    raise DataError(
        "a batch is a dict of image, uint8 or in the network's range (B, C, H, W), label where there are classes, and "
        f"index where the data module numbers its examples; or a pair (image, label); or images; this one {given}. "
        "Examples of one index have the same times and noise: count them on through all epochs, as "
        "mezzotint.data.DataModule does."
    )


def numbered(module: "DiffusionModule", batch: Any, held_out: int | None = None) -> Batch:
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
    """Whether a network has an argument `label`."""
    return "label" in inspect.signature(network.forward).parameters
