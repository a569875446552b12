"""The weights of `init=`, which a run takes before its first step and never needs again."""

from pathlib import Path

from mezzotint.app.assembly.parts import Components
from mezzotint.app.config.job import Job
from mezzotint.runs import RunDir
from mezzotint.runs.initial import Transfer, transfer


def initial_weights(directory: Path, job: Job, parts: Components) -> Transfer | None:
    """Match the tensors of init= with the run's network and objective, which may be on the meta device.

    Returns:
        None without init=, or once the run has a checkpoint of its own.

    Raises:
        ConfigError, DataError: the source cannot be read, or no tensor of it fits.
    """
    if job.init is None or RunDir(directory).newest_step():
        return None
    return transfer(job.init, job.init_weights or "ema", {"denoiser": parts.denoiser, "objective": parts.objective})


def start_from_initial_weights(directory: Path, job: Job, parts: Components) -> None:
    """Replace the random weights of a run that has not begun by those of init=."""
    if found := initial_weights(directory, job, parts):
        found.apply({"denoiser": parts.denoiser, "objective": parts.objective})
