"""The ranks of one job: started here on its frozen config, or joined where SLURM or torchrun started them.

The ranks never see the command line, so they cannot compose another config than the one that was checked. They meet by
torch's own environment contract at a store that this process holds, so no port can be taken from them; they die with
this process; what they return, or why they failed, comes back over a pipe each.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mezzotint.app.config.job import Job
from mezzotint.errors import ConfigError, TrainingError
from mezzotint.instantiate.trust import current
from mezzotint.signals import STOP_SIGNALS, Preempted, pending_signal

STARTED = "MEZZOTINT_STARTED_BY"  # in the environment of ranks that a command started itself: its process


def joined() -> bool:
    """Return True if SLURM or torchrun started this process as one rank of several."""
    return (tasks() > 1 and "SLURM_STEP_ID" in os.environ) or "TORCHELASTIC_RUN_ID" in os.environ


def tasks() -> int:
    """Return the number of tasks of the SLURM job; 1 elsewhere."""
    return int(os.environ.get("SLURM_NTASKS", "1"))


def check(hardware: Any) -> None:
    """Refuse a number of processes or nodes that is not the cluster's.

    Raises:
        ConfigError: with both numbers.
    """
    asked = hardware.processes
    if joined():
        hardware.place()
    elif tasks() not in (1, asked):
        raise ConfigError(
            f"SLURM has allocated {tasks()} tasks (SLURM_NTASKS) and hardware needs {asked} process(es): put srun "
            "before the command, or make hardware.devices x hardware.nodes the number of tasks"
        )
    elif hardware.nodes > 1:
        raise ConfigError(
            f"hardware.nodes={hardware.nodes}: several nodes are started by srun or torchrun, this command on each"
        )


def check_environment() -> None:
    """Refuse an incomplete set of a launcher's environment variables, which would make torch wait for other ranks.

    Raises:
        ConfigError: RANK and WORLD_SIZE without what torchrun says beside them.
    """
    world = os.environ.get("WORLD_SIZE", "1")
    if "RANK" in os.environ and world != "1" and not joined():
        raise ConfigError(
            f"RANK={os.environ['RANK']} and WORLD_SIZE={world} are set in the environment, and neither torchrun nor "
            "srun has started this process: unset them, or start the command with torchrun"
        )


def rank() -> int:
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) if joined() else 0


def follows() -> bool:
    """Return True on a later rank that a cluster started, beside a first one that runs the same command."""
    return rank() > 0 and STARTED not in os.environ


def start(
    work: Callable[..., dict[str, Any]], directory: Path, world: int, job: Job | None = None, **settings: Any
) -> dict[str, Any]:
    """Call `work(directory, job, **settings)` in `world` processes on this machine; return the result of rank 0.

    They find the user's own classes where this process does, and trust what it trusts.

    Args:
        work: a function at the top level of a module.
        settings: plain data.

    Raises:
        TrainingError: with the traceback of the rank that failed first.
    """
    from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

    rule, places = json.dumps(current().as_dict()), [place for place in sys.path if place]
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {
        STARTED: str(os.getpid()),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RUN_ID": directory.name,
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "GROUP_RANK": "0",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // world))),
    }
    command = [sys.executable, "-P", "-m", "mezzotint.app.launch.worker", str(directory), str(os.getpid())]
    call = f"{work.__module__}:{work.__qualname__}"
    arguments = arguments_file(job, settings)
    given = arguments.fileno()
    ranks: list[subprocess.Popen] = []
    pipes: list[int] = []
    try:
        with forwarding(ranks):
            for number in range(world):
                reader, writer = os.pipe()
                pipes.append(reader)
                environment = {**os.environ, **shared, "RANK": str(number), "LOCAL_RANK": str(number)}
                with signals_blocked():
                    # a group of its own: Ctrl-C comes to them through us, once
                    ranks.append(
                        subprocess.Popen(
                            [*command, str(writer), call, str(given), rule, *places],
                            env=environment,
                            pass_fds=[writer, given],
                            process_group=0,
                        )
                    )
                os.close(writer)
            if (name := pending_signal()) is not None:  # before there were ranks
                os.kill(os.getpid(), signal.Signals[name])
            codes = watch(ranks)
        results = [read_result(reader) for reader in pipes]
    finally:
        kill_all(ranks)
        for reader in pipes:
            os.close(reader)
        arguments.close()
    raise_first_failure(codes, results)
    return results[0]["result"]


def arguments_file(job: Job | None, settings: dict[str, Any]) -> IO[str]:
    """Write the arguments of the ranks to a file without a name, which exists as long as a process holds it open."""
    file = tempfile.TemporaryFile("w")  # noqa: SIM115
    json.dump({"job": job and job.as_dict(), "settings": settings}, file)
    file.flush()
    return file


def raise_first_failure(codes: Sequence[int | None], results: Sequence[dict[str, Any]]) -> None:
    """Raise the error of the rank that failed first: one that was killed, else the first that reported an error."""
    for number, code in enumerate(codes):
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            raise TrainingError(f"rank {number} of {len(codes)} was killed by {name}; out of memory, perhaps")
    failed = sorted((entry for entry in results if "error" in entry), key=lambda entry: entry["time"])
    if failed:
        raise TrainingError(f"rank {failed[0]['rank']} of {len(codes)} failed: {failed[0]['error']}")
    if 130 in codes:
        names = [entry["stopped"] for entry in results if "stopped" in entry]
        raise Preempted(names[0]) if names else KeyboardInterrupt
    for number, code in enumerate(codes):
        if code:
            raise TrainingError(f"rank {number} of {len(codes)} exited with code {code} without reporting an error")


def watch(ranks: Sequence[subprocess.Popen]) -> list[int | None]:
    """Return the exit codes when all ranks are done or soon after one failed; None for those that still run."""
    codes = [process.poll() for process in ranks]
    while None in codes and not any(codes):
        time.sleep(0.05)
        codes = [process.poll() for process in ranks]
    until = time.monotonic() + 0.5  # the others fail too; the first one that reports it is the cause
    while None in codes and time.monotonic() < until:
        time.sleep(0.05)
        codes = [process.poll() for process in ranks]
    return codes


def kill_all(ranks: Sequence[subprocess.Popen]) -> None:
    """Kill all ranks. Their files are written atomically, so nothing is waited for."""
    for process in ranks:
        process.kill()
    for process in ranks:
        process.wait()


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Block signals, here and in processes started here: a new rank cannot handle them yet."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def forwarding(ranks: Sequence[subprocess.Popen]) -> Iterator[None]:
    """Forward signals to the ranks, so that they save and end together; a third Ctrl-C kills them."""
    interrupts = 0

    def hand_on(number: int, _: Any) -> None:
        nonlocal interrupts
        interrupts += number == signal.SIGINT
        if interrupts > 2:
            raise KeyboardInterrupt
        for process in ranks:
            if process.poll() is None:
                process.send_signal(number)

    try:
        before = {number: signal.signal(number, hand_on) for number in STOP_SIGNALS}
    except ValueError:  # not the main thread, which alone gets signals
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def read_result(reader: int) -> dict[str, Any]:
    """Return the result that a rank wrote before it ended; empty if it wrote none."""
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
