"""A DiffusionModule's arguments as plain data in its checkpoints, and the module that is built of them again."""

import math
import sys
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from lightning.pytorch import LightningModule

from mezzotint.data.datamodule import DataModule
from mezzotint.errors import ConfigError
from mezzotint.instantiate.build import build
from mezzotint.instantiate.nodes import Undescribed, node_of
from mezzotint.plain_data import is_integer

PARTS = {"denoiser": "denoiser", "objective": "objective", "optimizer": "settings", "codec": "codec"}
NUMBERS = ("seed", "budget", "batch_size", "fused")


Module = TypeVar("Module", bound=LightningModule)


class Planned(Protocol):
    """A module whose images are None until a Trainer gives them."""

    batch_size: int | None
    budget: int | None


def described(module: LightningModule) -> dict[str, Any]:
    """The arguments as config nodes; one that does not keep its own arguments is left out, with a line about it."""
    found: dict[str, Any] = {name: getattr(module, name) for name in NUMBERS}
    for name, attribute in PARTS.items():
        try:
            found[name] = node_of(getattr(module, attribute))
        except Undescribed as error:
            print(f"checkpoints: {name} is left out ({error}); give it to load_from_checkpoint", file=sys.stderr)
    return found


def load_from_checkpoint(
    kind: type[Module],
    checkpoint_path: str | Path,
    map_location: Any = None,
    hparams_file: Any = None,
    strict: bool = True,
    weights_only: bool = True,
    **given: Any,
) -> Module:
    """The module of a checkpoint, with its weights; no code in the file is run.

    Args:
        weights_only: Lightning's switch; what this module saves needs no code, so it is best left as it is.
        given: arguments in place of those of the checkpoint, such as a denoiser that could not be described there.

    Raises:
        ConfigError: the checkpoint lacks an argument.
    """
    checkpoint = torch.load(checkpoint_path, map_location=map_location or "cpu", weights_only=weights_only)
    kept = checkpoint.get("hyper_parameters", {})
    if lost := [name for name in PARTS if name not in kept | given and name != "codec"]:
        raise ConfigError(
            f"{checkpoint_path} does not say how to build {lost[0]}: load_from_checkpoint(..., {lost[0]}=)"
        )
    parts = {name: build(node) for name, node in kept.items() if name in PARTS and name not in given}
    module = kind(**{name: kept[name] for name in NUMBERS if name in kept} | parts | given)
    module.load_state_dict(checkpoint["state_dict"], strict=strict)
    return module


def plan(module: Planned, trainer: Any) -> None:
    """Take batch_size and budget from the Trainer where they were not given.

    Raises:
        ConfigError: nothing says how many images a step or how many steps there are.
    """
    if module.batch_size is None:
        module.batch_size = images_a_step(trainer)
    if module.budget is None:
        steps = trainer.estimated_stepping_batches
        if not math.isfinite(steps):
            raise ConfigError("budget=None, and the Trainer has no end: give budget=, or the Trainer max_steps=")
        module.budget = int(steps) * module.batch_size


def images_a_step(trainer: Any) -> int:
    """The batch size of a Trainer's data, over all processes and micro-batches.

    Raises:
        ConfigError: its loader does not say it.
    """
    if isinstance(trainer.datamodule, DataModule):
        return trainer.datamodule.batch_size
    each = getattr(trainer.train_dataloader, "batch_size", None)
    if not is_integer(each):
        raise ConfigError("batch_size=None, and the data loader has none: give the images of a step as batch_size=")
    return each * trainer.world_size * trainer.accumulate_grad_batches
