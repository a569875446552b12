"""Process groups: the ranks of a run, a cluster's tasks, or processes that are started for an evaluation."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous as env_rendezvous

from mezzotint.app.config.job import Job
from mezzotint.app.launch import ranks
from mezzotint.app.launch.following import following
from mezzotint.app.launch.slurm_rendezvous import rendezvous
from mezzotint.distributed import rank_and_world
from mezzotint.instantiate.build import build
from mezzotint.progress import Advance, bar
from mezzotint.training.hardware.hardware import Hardware, ProcessInfo

Seen = TypeVar("Seen")

_groups = count()


@contextmanager
def joined_group(directory: Path, hardware: Hardware, job: Job | None = None) -> Iterator[ProcessInfo]:
    """Join the processes that work on a run; nothing is done in a process that works alone.

    The tasks of a SLURM job first find each other, and torch's process group is made before Lightning would make one.

    Args:
        job: the config that the first rank of a cluster writes before it joins; None if it writes none.

    Raises:
        TrainingError: another rank did not come, or wrote another config.
    """
    with following(directory, job) if job else nullcontext(), rendezvous(directory), process_group(hardware):
        yield ProcessInfo.here()


@contextmanager
def process_group(hardware: Hardware) -> Iterator[None]:
    """Initialise the process group that the environment describes, and destroy it afterwards."""
    if ProcessInfo.here().world > 1 and not dist.is_initialized():
        if hardware.device == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend, patience = "nccl" if hardware.device == "cuda" else "gloo", timedelta(seconds=hardware.timeout)
        store, rank, world = next(env_rendezvous("env://", timeout=patience))
        apart = dist.PrefixStore(f"together/{next(_groups)}", store)  # pyright: ignore[reportPrivateImportUsage]  # nothing of an earlier group is found there
        dist.init_process_group(backend, store=apart, rank=rank, world_size=world, timeout=patience)
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


def run_on_ranks(work: Callable[..., dict[str, Any]], directory: Path, job: Job) -> None:
    """Call `work(directory, job)` in the processes that the hardware has here, if that is more than this one."""
    world = local_ranks(build(job.hardware, "hardware"))
    if world > 1 and not (dist.is_initialized() or ranks.joined()):
        ranks.start(work, directory, world, job)


def local_ranks(hardware: Hardware) -> int:
    """Return the processes of one node, at most the number of its GPUs."""
    there = torch.cuda.device_count() if hardware.device == "cuda" else None
    if hardware.devices == "auto":
        return there or 1
    return min(hardware.devices, there or hardware.devices)


def broadcast(here: Seen) -> Seen:
    """Return the first process's value in all processes."""
    seen: list[Any] = [here]
    if dist.is_initialized():
        dist.broadcast_object_list(seen)
    return seen[0]


@contextmanager
def shared_progress(title: str, total: int) -> Iterator[Advance]:
    """The bar of all processes, which takes the others to be as far as the first one."""
    _, world = rank_and_world()
    with bar(title, total) as advance:
        yield lambda count: advance(count * world)
