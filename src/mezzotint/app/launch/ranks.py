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


def joined() -> bool:
    """Whether a cluster started this process as one rank of several."""
    return (tasks() > 1 and "SLURM_STEP_ID" in os.environ) or "TORCHELASTIC_RUN_ID" in os.environ


def tasks() -> int:
    """How many processes SLURM counts on; 1 elsewhere."""
    return int(os.environ.get("SLURM_NTASKS", "1"))


def check(hardware: Any) -> None:
    """Refuse another number of processes than the cluster started, or set aside and would leave idle; or other nodes.

    Raises:
        ConfigError: with both numbers.
    """
    asked = hardware.local * hardware.nodes
    if joined():
        hardware.place()
    elif tasks() not in (1, asked):
        raise ConfigError(
            f"SLURM set {tasks()} tasks aside (SLURM_NTASKS) and hardware asks for {asked} process(es): put srun "
            "before the command, or make hardware.devices x hardware.nodes the number of tasks"
        )
    elif hardware.nodes > 1:
        raise ConfigError(
            f"hardware.nodes={hardware.nodes}: several nodes are started by srun or torchrun, this command on each"
        )


def check_environment() -> None:
    """Refuse words of a launcher that are left over, or are not all of them: they would be waited for in vain.

    Raises:
        ConfigError: RANK and WORLD_SIZE without what torchrun says beside them.
    """
    world = os.environ.get("WORLD_SIZE", "1")
    if "RANK" in os.environ and world != "1" and not joined():
        raise ConfigError(
            f"RANK={os.environ['RANK']} and WORLD_SIZE={world} stand in the environment, and neither torchrun nor srun "
            "has started this process: unset them, or start the command with torchrun"
        )


def rank() -> int:
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) if joined() else 0


def start(work: Callable[..., dict[str, Any]], directory: Path, world: int, job: Job | None = None) -> dict[str, Any]:
    """Call `work(directory, job)` in `world` processes on this machine; return the result of rank 0.

    They find the user's own classes where this process does, and trust what it trusts.

    Args:
        work: a function at the top level of a module.
        job: what to work on; None where config.yaml says it.

    Raises:
        TrainingError: with the traceback of the rank that failed first.
    """
    from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

    rule, places = json.dumps(current().as_dict()), [place for place in sys.path if place]
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
    command = [sys.executable, "-P", "-m", "mezzotint.app.launch.worker", str(directory), str(os.getpid())]
    call = f"{work.__module__}:{work.__qualname__}"
    asked = told_to(job)
    given = [asked.fileno()] if asked else []
    ranks: list[subprocess.Popen] = []
    pipes: list[int] = []
    try:
        with forwarding(ranks):
            for number in range(world):
                reader, writer = os.pipe()
                pipes.append(reader)
                environment = {**os.environ, **shared, "RANK": str(number), "LOCAL_RANK": str(number)}
                with held_back():
                    # a group of its own: Ctrl-C comes to them through us, once
                    ranks.append(
                        subprocess.Popen(
                            [*command, str(writer), call, str(given[0]) if given else "", rule, *places],
                            env=environment,
                            pass_fds=[writer, *given],
                            process_group=0,
                        )
                    )
                os.close(writer)
            if (name := pending_signal()) is not None:  # before there were ranks
                os.kill(os.getpid(), signal.Signals[name])
            codes = watch(ranks)
        told = [tell(reader) for reader in pipes]
    finally:
        end(ranks)
        for reader in pipes:
            os.close(reader)
        if asked:
            asked.close()
    blame(codes, told)
    return told[0]["result"]


def told_to(job: Job | None) -> IO[str] | None:
    """A config in a file without a name, which is gone with the last process that holds it open."""
    if job is None:
        return None
    file = tempfile.TemporaryFile("w")  # noqa: SIM115
    json.dump(job.as_dict(), file)
    file.flush()
    return file


def blame(codes: Sequence[int | None], told: Sequence[dict[str, Any]]) -> None:
    """Raise for the rank that failed first: one that was killed from outside, else the first that told of an error."""
    for number, code in enumerate(codes):
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            raise TrainingError(f"rank {number} of {len(codes)} was killed by {name}; out of memory, perhaps")
    failed = sorted((entry for entry in told if "error" in entry), key=lambda entry: entry["time"])
    if failed:
        raise TrainingError(f"rank {failed[0]['rank']} of {len(codes)} failed: {failed[0]['error']}")
    if 130 in codes:
        names = [entry["stopped"] for entry in told if "stopped" in entry]
        raise Preempted(names[0]) if names else KeyboardInterrupt
    for number, code in enumerate(codes):
        if code:
            raise TrainingError(f"rank {number} of {len(codes)} ended with code {code} and without a word")


def watch(ranks: Sequence[subprocess.Popen]) -> list[int | None]:
    """Exit codes, when all ranks are done or soon after one of them failed; None of those that still run."""
    codes = [process.poll() for process in ranks]
    while None in codes and not any(codes):
        time.sleep(0.05)
        codes = [process.poll() for process in ranks]
    until = time.monotonic() + 0.5  # the others see the failure too; the first to tell of it is the one to believe
    while None in codes and time.monotonic() < until:
        time.sleep(0.05)
        codes = [process.poll() for process in ranks]
    return codes


def end(ranks: Sequence[subprocess.Popen]) -> None:
    """Leave no rank behind. What they wrote is whole at any moment, so nothing is waited for."""
    for process in ranks:
        process.kill()
    for process in ranks:
        process.wait()


@contextmanager
def held_back() -> Iterator[None]:
    """Signals wait, here and in what is started here, until they are let through: a new rank cannot heed them yet."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def forwarding(ranks: Sequence[subprocess.Popen]) -> Iterator[None]:
    """Hand on what comes to this process alone, so that the ranks save and leave together; a third Ctrl-C ends them."""
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
