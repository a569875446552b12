"""SLURM rendezvous: rank 0 opens a TCPStore on a free port and publishes its address in the run's status.json.

A port that everybody derives from the job's number may be taken, by another job on the node or by anything else.
"""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mezzotint.errors import TrainingError
from mezzotint.runs import RunDir

PATIENCE = 120.0  # seconds that a task waits for the first one


@contextmanager
def rendezvous(directory: Path) -> Iterator[None]:
    """Set torch's distributed environment variables in a SLURM task that has none; else do nothing.

    Raises:
        TrainingError: the first task did not say where it is.
    """
    env = os.environ
    if "RANK" in env or "MASTER_PORT" in env or "SLURM_STEP_ID" not in env or int(env.get("SLURM_NTASKS", 1)) == 1:
        yield
        return
    rank, world, nodes = int(env["SLURM_PROCID"]), int(env["SLURM_NTASKS"]), int(env.get("SLURM_NNODES", 1))
    store, (host, port) = publish_store(directory) if rank == 0 else (None, wait_for_store(directory))
    contract = {
        "MASTER_ADDR": host,
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # every rank is a guest at the store, the first one too
        "RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_RANK": env["SLURM_LOCALID"],
        "LOCAL_WORLD_SIZE": str(world // nodes),
        "GROUP_RANK": env.get("SLURM_NODEID", "0"),
    }
    before = {key: env.get(key) for key in contract}
    env.update(contract)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                env.pop(key, None)
            else:
                env[key] = value
        del store  # kept until here: it ends with its owner


def publish_store(directory: Path) -> tuple[Any, tuple[str, int]]:
    """Open the first task's store and publish its address; return both."""
    from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    address = os.environ.get("SLURMD_NODENAME") or socket.gethostname(), store.port
    RunDir(directory).update_status(meeting={"of": job_step_id(), "host": address[0], "port": address[1]})
    return store, address


def wait_for_store(directory: Path) -> tuple[str, int]:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        address = RunDir(directory).status().get("meeting", {})
        if address.get("of") == job_step_id():
            return address["host"], address["port"]
        time.sleep(0.1)
    raise TrainingError(f"task {os.environ['SLURM_PROCID']} waited {PATIENCE:g} s for the first one to open a port")


def job_step_id() -> str:
    """Return an identifier of this start of this job step, so that an earlier one's address is not used."""
    env = os.environ
    return f"{env['SLURM_JOB_ID']}.{env['SLURM_STEP_ID']}.{env.get('SLURM_RESTART_COUNT', '0')}"
