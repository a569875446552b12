"""The largest micro-batch that a device holds, found by trying; what a run computes does not depend on it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mezzotint.data.inputs import NetworkInputs
from mezzotint.diffusion import Denoiser
from mezzotint.errors import ConfigError
from mezzotint.training.hardware.hardware import Hardware, is_full
from mezzotint.training.hardware.memory import footprint, free_memory
from mezzotint.training.module import DiffusionModule

ROOM = 0.9  # share of the free memory that may be planned with
PATIENCE = 15.0  # seconds that one step may take to be timed


@dataclass(frozen=True)
class ProbeResult:
    """A micro-batch that fits, and how fast it goes; None where a step would have taken too long to wait for."""

    micro_batch: int
    memory: int
    images_per_second: float | None


class MicroBatchProbe:
    """A run's module, optimizer and averages on the device that the hardware names: steps of any size can be tried.

    Args:
        inputs: of the network; x is black, and each condition has its null.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        objective: Any,
        optimizer: Any,
        hardware: Hardware,
        inputs: NetworkInputs,
        ema: Any,
    ) -> None:
        hardware.prepare(denoiser.network)
        self.hardware, self.inputs, self.ema = hardware, inputs, ema
        self.module = DiffusionModule(denoiser, objective, optimizer, budget=1, batch_size=1).to(hardware.device)
        self.optimizer = optimizer.build(self.module)
        averages = ema.averages if ema else ()
        self.averages = [[p.detach().float().clone() for p in self.module.parameters()] for _ in averages]

    def memory(self, micro_batch: int) -> int:
        """Return the counted bytes of a step, see `footprint`."""
        return footprint(
            self.module.denoiser.network, self.inputs, micro_batch, self.hardware, self.ema, self.module.settings
        ).total

    def step(self, micro_batch: int) -> None:
        """One step of training on black images."""
        device = self.hardware.device
        batch = {
            "image": torch.zeros(micro_batch, *self.inputs.shape, dtype=torch.uint8, device=device),
            "index": torch.arange(micro_batch),
            **self.inputs.null_conditions(micro_batch, device),
        }
        dtype = self.hardware.dtype
        with torch.autocast(device, dtype, enabled=dtype != torch.float32):
            loss = self.module.training_step(batch, 0)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        loss.item()  # the device is done
        self.module.losses, self.module.index = [], []


def find(probe: MicroBatchProbe, share: int, progress: Callable[[int], None] = lambda size: None) -> list[ProbeResult]:
    """The largest micro-batch that fits first, then smaller ones that may be as fast.

    A GPU is asked by trying: an allocator knows best what it can hold. On a CPU, where trying would end the process or
    make the machine swap, the counted footprint is compared with the memory that is free.

    Args:
        share: images of a step that one process works on; micro-batches divide it.
        progress: told each size before it is tried.

    Raises:
        ConfigError: not even one image fits.
    """
    hardware = probe.hardware

    def fits(size: int) -> bool:
        progress(size)
        if hardware.device == "cuda":
            return runs(lambda: probe.step(size))
        return probe.memory(size) <= ROOM * free_memory("cpu") / hardware.local

    sizes = divisors(share)
    best = largest(sizes, fits)
    if best is None:
        raise ConfigError(
            "hardware.micro_batch=find: not even one image fits. Use hardware.checkpointing=true, "
            "hardware.precision=bf16-mixed, a smaller network or a device with more memory"
        )
    chosen = [size for size in sizes if size <= best][-4:][::-1]
    step_seconds = timed(lambda: probe.step(sizes[0]))
    trials = []
    for size in chosen:
        progress(size)
        patient = hardware.device == "cuda" or step_seconds * size / sizes[0] < PATIENCE
        rate = size / timed(lambda size=size: probe.step(size)) if patient else None
        trials.append(ProbeResult(size, probe.memory(size), rate))
    return trials


def divisors(number: int) -> list[int]:
    return [size for size in range(1, number + 1) if number % size == 0]


def largest(sizes: Sequence[int], fits: Callable[[int], bool]) -> int | None:
    """The largest of ascending sizes that fits, where what fits fits in every smaller size too."""
    if fits(sizes[-1]):
        return sizes[-1]
    low, high = -1, len(sizes) - 1  # low fits, high does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(sizes[middle]) else (low, middle)
    return sizes[low] if low >= 0 else None


def runs(step: Callable[[], None]) -> bool:
    """Return whether a step fits into memory; what a failed one took is freed."""
    try:
        step()
    except RuntimeError as error:
        if not is_full(error):
            raise
        full = True
    else:
        full = False
    if full and torch.cuda.is_initialized():  # outside of the except, whose traceback would keep the tensors
        torch.cuda.empty_cache()
    return not full


def timed(step: Callable[[], None]) -> float:
    """Seconds of the second of two steps: the first one also sets up."""
    step()
    began = time.perf_counter()
    step()
    return time.perf_counter() - began
