"""Any optimizer of torch as settings."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from mezzotint.training.lr_schedules import LRSchedule
from mezzotint.training.optimizers import OptimizerSettings
from mezzotint.training.parameter_groups import ParameterRule, grouped, parameters


@dataclass(frozen=True)
class TorchOptimizer(OptimizerSettings):
    """An optimizer of torch, or of a library with the same interface, with our rate, groups and clipping.

    Its weight decay is that of `kind`, or the default there, on matrices and kernels; biases, norms and embeddings have
    none. It is fused only if `kind` says so. Its other arguments are those of the base.

    Args:
        kind: the class with its own settings but for parameters and learning rate; in a config a node with
            `_partial_: true`.

    Raises:
        ValueError: the class steps more than once a batch, needs sparse gradients, or refuses its settings.
    """

    kind: Callable[..., torch.optim.Optimizer]
    lr: float = 1e-3
    warmup: float | tuple[float, ...] = 6400
    decay: Literal["linear", "cosine", "constant"] | LRSchedule = "linear"
    clip: float | None = 1.0
    groups: tuple[ParameterRule, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        target, given = unwrapped(self.kind)
        name = getattr(target, "__name__", str(target))
        if wrong := {"params", "lr"} & given.keys():
            raise ValueError(f"kind: {wrong.pop()} of {name} is set by the run; give lr= of the optimizer")
        if not inspect.isclass(target):
            return
        if needs_closure(target):
            raise ValueError(
                f"kind: {name} evaluates the loss several times a step, and a step here has one loss. "
                "Choose another class of torch.optim, such as torch.optim.AdamW"
            )
        if issubclass(target, torch.optim.SparseAdam):
            raise ValueError(
                f"kind: {name} needs sparse gradients, and those of a network are dense. Choose torch.optim.Adam"
            )

    def build(self, module: nn.Module, fused: bool = True) -> torch.optim.Optimizer:
        target, given = unwrapped(self.kind)
        settings = given if fused else {key: value for key, value in given.items() if key != "fused"}
        known = inspect.signature(target).parameters
        usual = settings.get("weight_decay", known["weight_decay"].default if "weight_decay" in known else 0.0)
        groups = grouped([*parameters(module)], self.groups, usual)
        if "weight_decay" not in known:
            if any(group["weight_decay"] for group in groups):
                raise ValueError(f"groups: {target.__name__} has no weight decay")
            groups = [{key: value for key, value in group.items() if key != "weight_decay"} for group in groups]
        return target(groups, lr=self.lr, **settings)


def unwrapped(kind: Callable[..., Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return a class and the settings given to it."""
    return (kind.func, dict(kind.keywords)) if isinstance(kind, partial) else (kind, {})


def needs_closure(target: type[torch.optim.Optimizer]) -> bool:
    """Return whether a step must be given a function that evaluates the loss."""
    closure = inspect.signature(target.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty
