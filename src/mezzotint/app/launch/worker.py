"""One rank of one job: `python -m mezzotint.app.launch.worker RUN PARENT PIPE CALL JOB RULE [FOLDER ...]`.

It knows no Hydra. CALL is the function to run, MODULE:NAME; JOB the number of an open file with its arguments.
RULE is what the command lets a config name, as JSON: what the parent accepted no rank refuses.
"""

import ctypes
import json
import os
import signal
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

from mezzotint.app.startup import defer_packages, rare_collection
from mezzotint.app.terminal import unbroken
from mezzotint.errors import as_user_error
from mezzotint.instantiate.trust import Trust, trusting
from mezzotint.signals import STOP_SIGNALS, Preempted, install_handlers

ROOM = 15_000  # characters of an error, of at most four bytes: a pipe holds 64 kB, and nobody reads it before we end


def die_with(parent: int) -> None:
    """Be killed when the parent dies, however it dies: an orphan would go on writing the run."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


def work(directory: Path, call: str, file: str) -> dict[str, Any]:
    """Import the function and call it with the directory and the arguments in the open file."""
    from mezzotint.app.config.job import Job
    from mezzotint.data.index.place import use_cache

    module, _, name = call.partition(":")
    arguments = json.loads(os.pread(int(file), os.fstat(int(file)).st_size, 0))
    function = getattr(import_module(module), name)
    job = arguments["job"]
    if job:
        use_cache(job["paths"]["cache"])
    return function(directory, job and Job.of_dict(job), **arguments["settings"])


def failure(text: str) -> dict[str, Any]:
    return {"error": text[-ROOM:], "time": time.time()}


def packed(report: dict[str, Any]) -> bytes:
    return json.dumps(report, ensure_ascii=False).encode(errors="replace")


def main(directory: str, parent: str, pipe: str, call: str, job: str, rule: str, *places: str) -> int:
    defer_packages()
    install_handlers()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # what came since we were started, comes now
    die_with(int(parent))
    sys.path.extend(place for place in places if place not in sys.path)
    report: dict[str, Any] = {"rank": int(os.environ["RANK"])}
    code = 0
    try:
        with rare_collection(), trusting(Trust.of_dict(json.loads(rule))):
            report["result"] = work(Path(directory), call, job)
    except Preempted as stop:
        code = 130
        report["stopped"] = stop.name
    except KeyboardInterrupt:
        code = 130
    except BaseException as error:
        code = 1
        known = as_user_error(error)
        report |= failure(f"\n{traceback.format_exc()}" if known is None else str(known))
    os.write(int(pipe), packed(report))
    return code


if __name__ == "__main__":
    with unbroken():
        status = main(*sys.argv[1:])
    os._exit(status)  # a process group with a dead member can hang in its destructor
