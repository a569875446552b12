"""One job a GPU on one machine: a worker takes a free GPU before torch is imported, and keeps it while it lives."""

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO

from mezzotint.atomic import lock_file
from mezzotint.errors import ConfigError

_held: list[IO[str]] = []


def visible() -> list[str]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [word.strip() for word in given.split(",") if word.strip()]
    if not shutil.which("nvidia-smi"):
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout
    return [str(number) for number, _ in enumerate(line for line in listed.splitlines() if line.startswith("GPU "))]


def take(wait: float = 1.0) -> str | None:
    """Reserve one GPU for this process, waiting for a free one; None if there are no GPUs."""
    names = visible()
    if _held or not names:
        return os.environ.get("CUDA_VISIBLE_DEVICES")
    while True:
        for name in names:
            place = f"mezzotint-{os.getuid()}-gpu-{name.replace('/', '-')}.lock"  # MIG-GPU-.../1/0
            file = hold(Path(tempfile.gettempdir()) / place)
            if file is None:
                continue
            _held.append(file)
            os.environ["CUDA_VISIBLE_DEVICES"] = name
            return name
        time.sleep(wait)


def hold(place: Path) -> IO[str] | None:
    """Lock the file of a GPU, whose name is predictable; return None while another process holds it.

    Raises:
        ConfigError: it is a link, a folder, a pipe or somebody else's, none of which is followed or waited for.
    """
    try:
        file = lock_file(place)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel's: it ends with this process
        except OSError:
            file.close()
            raise
    except BlockingIOError:
        return None
    except OSError as error:
        raise ConfigError(
            f"{place} stands for a GPU that is in use, and cannot be locked ({error.strerror}): remove it, or set "
            "TMPDIR to a folder of your own"
        ) from error
    return file
