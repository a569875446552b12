"""The ranks of one job: started here on its frozen config.yaml, or joined where SLURM or torchrun started them.

The ranks never see the command line, so they cannot compose another config than the one that was checked. They meet by
torch's own environment contract at a store that this process holds, so no port can be taken from them; they die with
this process; what they return, or why they failed, comes back over a pipe each.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mezzotint.errors import TrainingError

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
PATIENCE = 15.0  # seconds that ranks have to save and leave after one of them failed or they were asked to stop


def joined() -> bool:
    """Whether a cluster started this process as one rank of several."""
    slurm = int(os.environ.get("SLURM_NTASKS", "1")) > 1 and "SLURM_PROCID" in os.environ
    return slurm or "TORCHELASTIC_RUN_ID" in os.environ


def rank() -> int:
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) if joined() else 0


def start(directory: Path, world: int, places: Sequence[str] = ()) -> dict[str, Any]:
    """Train the run in a directory with `world` processes on this machine; what rank 0's fit returned.

    Args:
        places: folders that hold the user's own classes.

    Raises:
        TrainingError: with the traceback of the rank that failed first.
    """
    from torch.distributed import TCPStore

    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RUN_ID": directory.name,
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "GROUP_RANK": "0",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // world))),
    }
    ranks, pipes = [], []
    try:
        for number in range(world):
            reader, writer = os.pipe()
            pipes.append(reader)
            command = [sys.executable, "-m", "mezzotint.app.worker", str(directory), str(writer), str(os.getpid())]
            environment = {**os.environ, **shared, "RANK": str(number), "LOCAL_RANK": str(number)}
            ranks.append(subprocess.Popen([*command, *places], env=environment, pass_fds=[writer]))
            os.close(writer)
        with forwarding(ranks):
            watch(ranks)
        told = [tell(reader) for reader in pipes]
    finally:
        end(ranks)
        for reader in pipes:
            os.close(reader)
    failed = sorted((entry for entry in told if "error" in entry), key=lambda entry: entry["time"])
    if failed:
        raise TrainingError(f"rank {failed[0]['rank']} of {world} failed\n{failed[0]['error']}")
    codes = {number: process.returncode for number, process in enumerate(ranks) if process.returncode}
    if 130 in codes.values():
        raise KeyboardInterrupt
    if codes:
        number, code = next(iter(codes.items()))
        cause = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        raise TrainingError(f"rank {number} of {world} {cause}")
    return told[0]["result"]


def watch(ranks: Sequence[subprocess.Popen]) -> None:
    """Return when all ranks are done, or soon after one of them failed."""
    while any(process.poll() is None for process in ranks) and not any(process.returncode for process in ranks):
        time.sleep(0.05)
    until = time.monotonic() + 0.5  # the others see the failure too; the first to tell of it is the one to believe
    while any(process.poll() is None for process in ranks) and time.monotonic() < until:
        time.sleep(0.05)


def end(ranks: Sequence[subprocess.Popen]) -> None:
    """Leave no rank behind: ask, wait, then kill."""
    for process in ranks:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    until = time.monotonic() + PATIENCE
    for process in ranks:
        try:
            process.wait(max(0.1, until - time.monotonic()))
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.kill()
            process.wait()


@contextmanager
def forwarding(ranks: Sequence[subprocess.Popen]) -> Iterator[None]:
    """Hand on what a cluster sends to this process alone, so that the ranks save and leave together."""

    def hand_on(number: int, _: Any) -> None:
        for process in ranks:
            if process.poll() is None:
                process.send_signal(number)

    try:
        before = {number: signal.signal(number, hand_on) for number in SIGNALS}
    except ValueError:  # not the main thread, which alone gets signals
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def tell(reader: int) -> dict[str, Any]:
    """What a rank wrote before it ended, if it did."""
    os.set_blocking(reader, False)
    parts = []
    while True:
        try:
            part = os.read(reader, 65536)
        except BlockingIOError:  # a rank that still runs
            break
        if not part:
            break
        parts.append(part)
    try:
        return json.loads(b"".join(parts))
    except json.JSONDecodeError:
        return {}
