"""Estimates of the memory that training takes on each device and of the size of its checkpoints."""

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mezzotint.cost.peak_memory import working_memory
from mezzotint.data.inputs import NetworkInputs
from mezzotint.training.hardware.hardware import Hardware

FLOAT = 4  # bytes: weights, moments and averages are float32 in every precision


@dataclass(frozen=True)
class Footprint:
    """Bytes on one device while it trains.

    `working` is counted on tensors without memory (see `working_memory`). Against the peak that was measured on a CPU
    it is right within a tenth; where stages are recomputed, what kernels take for themselves shows, and it can be a
    quarter off either way. Not in it: the images in memory, the program (0.5 GB), what a CPU's allocator keeps (up to
    half as much again), and what a GPU's context and libraries take (0.5 to 1 GB).
    """

    weights: int
    optimizer: int
    averages: int
    working: int

    @property
    def total(self) -> int:
        return sum(getattr(self, part.name) for part in fields(self))

    def __str__(self) -> str:
        parts = [f"{part.name} {size(getattr(self, part.name))}" for part in fields(self)]
        return f"{size(self.total)} on each device: {', '.join(parts)}"


def footprint(
    network: nn.Module,
    inputs: NetworkInputs,
    micro_batch: int,
    hardware: Hardware,
    ema: Any = None,
    optimizer: Any = None,
) -> Footprint:
    """Memory of a training step of `micro_batch` examples.

    `optimizer` is its settings, by default those of AdamW. FSDP cuts weights, moments and averages into as many parts
    as there are processes; the gradients in `working` stay counted whole, as they are while a block is worked on.

    Raises:
        RuntimeError: the network cannot be counted so.
    """
    weights = FLOAT * sum(p.numel() for p in network.parameters())
    shards = hardware.local * hardware.nodes if hardware.strategy == "fsdp" else 1
    averages = len(ema.averages if ema else ())
    return Footprint(
        weights // shards,
        FLOAT * state_numbers(network, optimizer) // shards,
        averages * weights // shards + weights,  # and the whole copy that previews and validation look at
        working_memory(
            network,
            inputs.shape,
            micro_batch,
            inputs.classes,
            hardware.dtype,
            hardware.device,
            inputs.conditions,
        ),
    )


def checkpoint_size(network: nn.Module, ema: Any = None, optimizer: Any = None) -> int:
    """Bytes of a checkpoint: the weights, the optimizer's state, and each average."""
    kept = 1 + len(ema.averages if ema else ())
    return FLOAT * (kept * sum(p.numel() for p in network.parameters()) + state_numbers(network, optimizer))


def state_numbers(network: nn.Module, optimizer: Any) -> int:
    """Numbers in the state of an optimizer by its settings; None has two moments, as AdamW."""
    return optimizer.state_numbers(network) if optimizer else 2 * sum(p.numel() for p in network.parameters())


def size(count: float) -> str:
    """Bytes for people: 12 kB, 10.4 MB, 3.2 GB."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"


def free_memory(device: str) -> int:
    """Bytes that a device has free for us: a GPU's, or main memory that can be had without swapping."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[0]
    if device == "mps":  # a part of main memory
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([1024 * kilobytes[0] if kilobytes else whole, *container_memory()])


def container_memory() -> list[int]:
    """Return the bytes left in a container, its limit less its usage; None where Linux reports no limit."""
    found = []
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            read = [int((Path("/sys/fs/cgroup") / name).read_text()) for name in (limit, used)]
        except (OSError, ValueError):  # not there, or "max"
            continue
        found.append(max(0, read[0] - read[1]))
    return found
