"""Parameters that get no gradient from the loss: they keep their first values, and block the processes of a DDP run."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from mezzotint.errors import ConfigError
from mezzotint.training.hardware.hardware import Hardware

Named = dict[str, nn.Parameter]


def unreached(losses: Tensor, parameters: Named) -> tuple[str, ...]:
    """Names of the trained parameters that get no gradient from these losses, on the meta device or another.

    Gradients are computed only where autograd's graph does not hold all of them: a graph that goes on in the backward
    pass, as a reentrant checkpoint's does, is seen so as well. Nothing is said where that cannot be done.
    """
    trained = {name: p for name, p in parameters.items() if p.requires_grad}
    held = {id(leaf) for leaf in leaves(losses)}
    if all(id(p) in held for p in trained.values()):
        return ()
    if losses.requires_grad:
        try:
            losses.sum().backward()
        except (RuntimeError, NotImplementedError):
            return ()
    missing = tuple(name for name, p in trained.items() if p.grad is None)
    for p in trained.values():
        p.grad = None
    return missing


def leaves(result: Tensor) -> Iterator[Tensor]:
    """The tensors that a result's gradient would be added up in."""
    waiting: list[Any] = [result.grad_fn]
    seen: set[Any] = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        waiting += [before for before, _ in node.next_functions]
        if (leaf := getattr(node, "variable", None)) is not None:
            yield leaf


def check_reached(missing: tuple[str, ...], hardware: Hardware) -> None:
    """The processes of a DDP run wait for every parameter's gradient.

    Raises:
        ConfigError: one of them gets none.
    """
    world = hardware.processes
    if missing and world > 1 and hardware.strategy != "fsdp":
        raise ConfigError(
            f"{describe_unreached(missing)}, and {world} processes would wait for it. Let the loss depend on it, leave "
            "it out of the network, freeze it with requires_grad_(False), or train in one process (hardware.devices=1)"
        )


def describe_unreached(missing: tuple[str, ...]) -> str:
    first, *others = missing
    return f"{first} gets no gradient from the loss{f' (nor do {len(others)} more)' if others else ''}"
