"""Combinations of objective, network and sampler for one or a few steps that are invalid, and what to do."""

from typing import Any

from mezzotint.app.assembly.conditions import taken_by
from mezzotint.app.config.job import Job
from mezzotint.diffusion import Denoiser, MeanFlow
from mezzotint.diffusion.interval import INTERVAL
from mezzotint.diffusion.objective.base import BaseObjective
from mezzotint.errors import ConfigError
from mezzotint.instantiate.build import build, targets
from mezzotint.instantiate.locate import locate

MEAN_FLOW = "mezzotint.diffusion.MeanFlowObjective"
CONSISTENCY = tuple(
    f"mezzotint.diffusion.{name}"
    for name in ("ConsistencyTraining", "ConsistencyDistillation", "ContinuousConsistency")
)


def check_few_steps(job: Job, network: Any) -> None:
    """Check that sampler and network fit an objective for few steps, in training and for sampling a run.

    The objective is known by its name: sampling does not import it.

    Raises:
        ConfigError: a sampler for another objective, or a network of one time.
    """
    trained, taken = job.objective.get("_target_"), taken_by(network)
    two_times = taken is None or INTERVAL in taken
    if trained == MEAN_FLOW and not two_times:
        raise ConfigError(
            f"objective=mean_flow needs a network of two times, and network.conditions has no {INTERVAL!r}: leave "
            "network.conditions out, it is added there, or use a network that takes conditions, such as network=unet"
        )
    steps = any(locate(path) is MeanFlow for _, path in targets(job.sampler))
    if steps and (trained != MEAN_FLOW if taken is None else not two_times):
        raise ConfigError(
            "sampler=mean_flow steps by average velocities, and this network predicts none: train with "
            "objective=mean_flow target=flow schedule=rectified, or use sampler=ddim"
        )
    if trained in CONSISTENCY and job.grid.get("steps") != 1 and not build(job.sampler, "sampler").renews_noise:
        name = str(job.sampler["_target_"]).rpartition(".")[2]
        raise ConfigError(
            f"the sampler {name} follows the ODE by E[x0 | x], and a network trained by {trained.rpartition('.')[2]} "
            "predicts the end of the path: use sampler=lcm, grid.steps=1, 2 or 4"
        )


def check_teachers(job: Job, objective: BaseObjective, network: Any) -> None:
    """Check that the teachers of an objective take the student's examples, labels and conditions.

    Raises:
        ConfigError: one does not, and what it takes.
    """
    for teacher in objective.teachers:
        if not isinstance(teacher, Denoiser):
            continue
        theirs, ours = (getattr(one, "shape", None) for one in (teacher.network, network))
        if theirs is not None and ours is not None and tuple(theirs) != tuple(ours):
            raise ConfigError(
                f"objective.teacher was trained on examples of shape {list(theirs)}, and this run has {list(ours)}: "
                "choose the data= of the teacher, or another teacher"
            )
        classes, wanted = classes_of(teacher.network), job.data.get("classes") or 0
        if classes is not None and classes < wanted:
            raise ConfigError(
                f"objective.teacher knows {classes} classes, and the data have {wanted}: give data.classes={classes}, "
                "or another teacher"
            )
        taken = taken_by(teacher.network)
        unknown = [name for name in job.data.get("conditions") or {} if taken is not None and name not in taken]
        if unknown:
            raise ConfigError(
                f"objective.teacher was trained without the condition {unknown[0]!r} of the data: leave it out of "
                "data.conditions, or choose another teacher"
            )


def classes_of(network: Any) -> int | None:
    """Return the number of classes that a network of ours knows, 0 without labels; None for another."""
    if taken_by(network) is None:
        return None
    return max(
        (part.classes for part in network.modules() if isinstance(getattr(part, "classes", None), int)), default=0
    )
