"""Processes that judge one thing together: the ranks of a run after training, a cluster's, or some that are started."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from mezzotint.app.config.job import Job
from mezzotint.app.launch import ranks
from mezzotint.distributed import rank_and_world
from mezzotint.instantiate.build import build
from mezzotint.progress import Advance, bar
from mezzotint.training.hardware.hardware import ProcessInfo

Seen = TypeVar("Seen")

_groups = count()


@contextmanager
def process_group(hardware: Any) -> Iterator[None]:
    """Make this process one of the group that its environment tells of; afterwards it is alone."""
    if ProcessInfo.here().world > 1 and not dist.is_initialized():
        if hardware.device == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend, patience = "nccl" if hardware.device == "cuda" else "gloo", timedelta(seconds=hardware.timeout)
        store, rank, world = next(rendezvous("env://", timeout=patience))
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


def local_ranks(hardware: Any) -> int:
    """The processes of one node, and at most the GPUs of this one, which need not be where the run was trained."""
    there = torch.cuda.device_count() if hardware.device == "cuda" else None
    if hardware.devices == "auto":
        return there or 1
    return min(hardware.devices, there or hardware.devices)


def broadcast_bool(here: Seen) -> Seen:
    """What the first process sees, for all of them."""
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
