"""The later ranks of a cluster's job: they wait for the first one, which writes the run, and end with it."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from mezzotint.app.config.job import Config, Job, differences
from mezzotint.app.launch import ranks
from mezzotint.errors import TrainingError
from mezzotint.runs import RunDir
from mezzotint.signals import raise_on_signal

MEETING = 120.0  # seconds that a rank of a cluster job waits for the first one to write config.yaml


@contextmanager
def following(directory: Path, job: Job) -> Iterator[None]:
    """On a later rank of a cluster: enter when the first rank has written the config, leave when it has ended the job.

    Ranks that the command started itself have been given the config, and end with the command.

    Raises:
        TrainingError: the first rank wrote another config, or none.
    """
    if not ranks.follows():
        yield
        return
    wait_for_config(directory, job)
    Thread(target=leave_with_first, args=(directory, time.time()), daemon=True).start()
    yield
    with raise_on_signal():
        while RunDir(directory).status().get("state") == "running":
            time.sleep(0.2)


def wait_for_config(directory: Path, job: Job) -> None:
    """Wait until the run's config.yaml holds this job."""
    until = time.monotonic() + MEETING
    found: Config = {}
    run, written = RunDir(directory), job.as_dict() | {"run": None}
    while time.monotonic() < until:
        if run.exists():
            found = run.config()
            if found == written:
                return
        time.sleep(0.2)
    differ = f"; it differs in {', '.join(differences(found, written))}" if found else ""
    raise TrainingError(f"rank {ranks.rank()} waited {MEETING:g} s for its config in {run.config_file}{differ}")


def leave_with_first(directory: Path, since: float) -> None:
    """End this rank when the first one has failed: it may be blocked in a collective for minutes."""
    while True:
        status = RunDir(directory).status()
        if status.get("time", 0.0) > since and status.get("state") != "running":
            break
        time.sleep(1.0)
    if status.get("state") == "failed":
        time.sleep(2.0)  # time to report an error of its own
        os._exit(1)
