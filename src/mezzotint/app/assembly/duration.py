"""The duration of a run on this machine: two real steps are timed, and the rest follows from counted operations."""

from dataclasses import dataclass
from pathlib import Path

from mezzotint.app.assembly.cost import flops, shares
from mezzotint.app.assembly.dry_run import ComponentsDryRun
from mezzotint.app.assembly.evaluation_budget import EvaluationBudget
from mezzotint.app.assembly.parts import Components
from mezzotint.app.config.job import Job
from mezzotint.training import DiffusionModule, TrainingRun
from mezzotint.training.callbacks.base import own
from mezzotint.training.hardware.memory import footprint, free_memory
from mezzotint.training.hardware.memory import size as bytes_of
from mezzotint.training.micro_batch import MicroBatchProbe, timed

TIMED = 3e10  # operations of the step that is timed: a second or two of one core
MOST = 3e11  # of one image; a larger network is not timed
MEMORY = 0.5  # of the free memory


@dataclass(frozen=True)
class Duration:
    """Seconds on this machine.

    Args:
        images: images in the step that was timed.
        step: seconds of that step.
        training: seconds of all training steps.
        callbacks: seconds of what callbacks compute during training, such as validation and previews.
        described: these callbacks, with how often they compute it.
        final: seconds of the final sampling and evaluation.
    """

    images: int
    step: float
    training: float
    callbacks: float
    described: str
    final: float

    def __str__(self) -> str:
        total = self.training + self.callbacks + self.final
        return (
            f"about {spoken(total)}: {spoken(self.training)} of training, {spoken(self.callbacks)} of validation and "
            f"previews{self.described}, {spoken(self.final)} of final sampling and evaluation (measured: a step of "
            f"{self.images} took {spoken(self.step)})"
        )


def duration(job: Job, dry: ComponentsDryRun, evaluation: EvaluationBudget) -> Duration | str:
    """Time a training step; return a reason instead where one image costs too much time or memory to be tried."""
    parts = dry.components
    each = evaluation.training_cost / job.budget
    world, micro_batch, _ = shares(job, parts.hardware)
    size = min(micro_batch, max(1, int(TIMED / max(each, 1.0))))
    if not each:
        return "not measured: the network's operations cannot be counted"
    if each > MOST:
        return f"not measured: {parts.noun.one} takes {flops(each)}, many seconds of a core"
    try:
        memory = footprint(parts.denoiser.network, parts.inputs, size, parts.hardware, parts.ema, parts.optimizer).total
    except Exception:  # a network of the user's own may do what tensors without memory cannot
        return "not measured: the network's memory cannot be counted"
    if memory > MEMORY * free_memory(parts.hardware.device):
        return f"not measured: a step of {size} takes {bytes_of(memory)}, more than half of the memory that is free"
    real = dry.materialised
    probe = probe_of(real)
    run = planned_run(job, parts, probe.module)
    step = timed(lambda: probe.step(size))
    second = each * size / step  # operations
    return Duration(
        size,
        step,
        evaluation.training_cost / second / world,
        callback_passes(run, parts) * each / 3 / second / world,
        described_callbacks(run, parts),
        evaluation.cost / second / world,
    )


def probe_of(parts: Components) -> MicroBatchProbe:
    """Return the components on their device, where steps of any size can be tried."""
    return MicroBatchProbe(parts.denoiser, parts.objective, parts.optimizer, parts.hardware, parts.inputs, parts.ema)


def planned_run(job: Job, parts: Components, module: DiffusionModule) -> TrainingRun:
    """Return the run as its callbacks will see it before its first step."""
    return TrainingRun(Path(), module, parts.dataset, 0, job.budget, job.batch_size, parts.sampling)


def callback_passes(run: TrainingRun, parts: Components) -> float:
    """Return the forward passes that callbacks make during training."""
    return sum(callback.forward_passes(run) for callback in own(parts.callbacks).values())


def described_callbacks(run: TrainingRun, parts: Components) -> str:
    """Return how often each callback makes passes, in brackets; nothing where none does."""
    described = {name: callback.describe_passes(run) for name, callback in own(parts.callbacks).items()}
    texts = [f"{name} {text}" for name, text in described.items() if text]
    return f" ({', '.join(texts)})" if texts else ""


def spoken(seconds: float) -> str:
    """12 s, 3.4 min, 5.1 hours, 12 days: two digits, as people say it."""
    for unit, least, scale in (("days", 172_800, 86_400), ("hours", 5_400, 3_600), ("min", 90, 60)):
        if seconds >= least:
            return f"{seconds / scale:,.2g} {unit}" if seconds < 100 * scale else f"{seconds / scale:,.0f} {unit}"
    return f"{seconds:.2g} s"
