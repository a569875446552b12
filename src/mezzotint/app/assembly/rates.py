"""Descriptions of a run's learning rate: its peak, and the effect of a changed budget."""

from pathlib import Path

from mezzotint.app.assembly.parts import Components
from mezzotint.app.config.job import Job
from mezzotint.plain_data import number
from mezzotint.runs import RunDir
from mezzotint.training.optimizers import peak, rescheduled

LOW = 0.5  # of lr: a run that never reaches so much hardly trains


def peak_rate(job: Job, parts: Components) -> str:
    """Return the peak rate and when it is reached, with a remark if it is far below lr."""
    lr = number(job.optimizer.get("lr"))
    highest, images = peak(parts.optimizer, job.batch_size, job.budget)
    said = f"{highest:.3g} after {images:,} images"
    if lr is not None and highest < LOW * lr:
        said += f" (of lr={lr:g}: the warm-up is long for this budget; optimizer.warmup=0.1 makes it a tenth of it)"
    return said


def changed(directory: Path, job: Job, parts: Components) -> str | None:
    """Return how a changed budget affects the learning rate of a resumed run; None for a new run."""
    if not (step := RunDir(directory).newest_step()):
        return None
    before = RunDir(directory).config().get("budget")
    return rescheduled(parts.optimizer, job.batch_size, before, job.budget, step)
