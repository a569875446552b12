"""Requeue of a preempted job by exactly one owner: submitit if it started the job, else scontrol.

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

PATIENCE = 60.0  # seconds to be ended in, after scontrol was called


def wanted(stop: Preempted) -> bool:
    """Return True if the sender of the signal expects the job to be restarted."""
    if stop.again:
        return True
    since = re.search(r"\bPreemptTime=(\S+)", scontrol("show", "job", job_id() or "").stdout)
    return since is not None and since.group(1)[:1].isdigit()


def requeue(rank: int) -> None:
    """Requeue the job. The ranks wait to be killed, because one that exits would end the job."""
    owners = [(number, signal.getsignal(number)) for number in REQUEUE_SIGNALS]
    theirs = [(number, one) for number, one in owners if callable(one) and module_of(one).startswith("submitit.")]
    if rank == 0 and theirs:
        number, owner = theirs[0]
        owner(number, None)  # does not come back if the job is put into the queue
        return
    job = job_id()
    if rank == 0 and job:
        answer = scontrol("requeue", job)
        if answer.returncode:
            print(f"job {job} could not be put back into the queue: {answer.stderr.strip()}", file=sys.stderr)
            return
    if theirs or job:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # submitit ignores it, and SLURM would wait to kill
        time.sleep(PATIENCE)


def scontrol(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run scontrol; return a failed process if it is not available."""
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
