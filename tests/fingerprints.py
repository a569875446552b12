"""Fingerprints of what a run computed: its bits, and the size of its numbers for machines that round otherwise."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from mezzotint.runs.checkpoints import newest, read


def arithmetic() -> str:
    """What this machine makes of a few sums: bit for bit the same only with the same kernels."""
    random = torch.Generator().manual_seed(0)
    x, w, v = (torch.randn(*shape, generator=random) for shape in ((8, 4, 8, 8), (4, 4, 3, 3), (256, 32)))
    w.requires_grad_()
    y = torch.nn.functional.silu(torch.nn.functional.group_norm(torch.nn.functional.conv2d(x, w, padding=1), 2))
    z = torch.softmax(y.reshape(8, 256) @ v, 1).exp().sin().log1p()
    z.square().mean().backward()
    assert w.grad is not None
    return hashlib.sha256(z.detach().numpy().tobytes() + w.grad.numpy().tobytes()).hexdigest()


def flat(value: Any, name: str = "") -> Iterable[tuple[str, torch.Tensor]]:
    """Every tensor in a part of a checkpoint with its place, in the order of the places."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            yield from flat(value[key], f"{name}/{key}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from flat(item, f"{name}/{i}")


def fingerprint(tensors: Any) -> dict[str, Any]:
    """The bits of tensors, and for machines that round otherwise the mean size of their entries."""
    bits, sums, count = hashlib.sha256(), 0.0, 0
    for name, tensor in flat(tensors):
        bits.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + tensor.numpy().tobytes())
        sums, count = sums + float(tensor.double().abs().sum()), count + tensor.numel()
    return {"sha256": bits.hexdigest(), "mean": sums / count}


def state(run: Path) -> dict[str, dict[str, Any]]:
    """Fingerprints of a run's weights, their averages and the optimizer's state."""
    file = newest(run / "checkpoints")
    assert file
    saved = read(file)
    return {key: fingerprint(saved[key]) for key in ("state_dict", "ema", "optimizer_states")}
