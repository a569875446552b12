"""The learning rate of a run in words: its highest, and what becomes of it when the budget of a run is changed."""

from pathlib import Path

from mezzotint.app.assembly.parts import Components
from mezzotint.app.config.job import Job
from mezzotint.runs import RunDir
from mezzotint.training.optimizers import peak, rescheduled

LOW = 0.5  # of lr: a run that never reaches so much hardly trains


def told(job: Job, parts: Components) -> str:
    """The highest rate, when it is reached, and a word where that is far below lr."""
    lr = job.optimizer.get("lr")
    highest, images = peak(parts.optimizer, job.batch_size, job.budget)
    said = f"{highest:.3g} after {images:,} images"
    if isinstance(lr, (int, float)) and highest < LOW * lr:
        said += f" (of lr={lr:g}: the warm-up is long for this budget; optimizer.warmup=0.1 makes it a tenth of it)"
    return said


def changed(directory: Path, job: Job, parts: Components) -> str | None:
    """What another budget than the saved one does to a run that goes on; None of one that has not begun."""
    if not (step := RunDir(directory).newest_step()):
        return None
    before = RunDir(directory).config().get("budget")
    return rescheduled(parts.optimizer, job.batch_size, before, job.budget, step)
