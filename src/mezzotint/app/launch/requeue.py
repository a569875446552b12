"""A preempted job is started again by exactly one owner: submitit where it started the job, else SLURM at our word.

SIGUSR1 and SIGUSR2 ask for it. SIGTERM comes from SLURM for two reasons: a job that gives way to another one is to be
started again, and one that was cancelled is not.
"""

import os
import re
import signal
import subprocess
import sys
import time

from mezzotint.signals import REQUEUE_SIGNALS, Preempted

PATIENCE = 60.0  # seconds to be ended in, once SLURM has been told


def wanted(stop: Preempted) -> bool:
    """Return True if the sender of the signal expects the job to be restarted."""
    if stop.again:
        return True
    since = re.search(r"\bPreemptTime=(\S+)", scontrol("show", "job", job_id() or "").stdout)
    return since is not None and since.group(1)[:1].isdigit()


def requeue(rank: int) -> None:
    """Ask for the job to be started again; the ranks stay until they are ended, for one that left would end the job."""
    owners = [(number, signal.getsignal(number)) for number in REQUEUE_SIGNALS]
    theirs = [(number, owner) for number, owner in owners if module_of(owner).startswith("submitit.")]
    if rank == 0 and theirs:
        number, owner = theirs[0]
        owner(number, None)  # type: ignore[operator,misc]  # does not come back if the job is put into the queue
        return
    job = job_id()
    if rank == 0 and job:
        told = scontrol("requeue", job)
        if told.returncode:
            print(f"job {job} could not be put back into the queue: {told.stderr.strip()}", file=sys.stderr)
            return
    if theirs or job:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # submitit ignores it, and SLURM would wait to kill
        time.sleep(PATIENCE)


def scontrol(*words: str) -> "subprocess.CompletedProcess[str]":
    """SLURM's answer, or that there is none to be had."""
    command = ["scontrol", *words]
    if not job_id():
        return subprocess.CompletedProcess(command, 1, "", "this is no job of SLURM")
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def job_id() -> str | None:
    """Return the SLURM job id, which for an array job includes the task."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ.get("SLURM_JOB_ID")


def module_of(handler: object) -> str:
    return type(getattr(handler, "__self__", None)).__module__
