"""Values derived from other values, written out before a config is saved or compared."""

import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mezzotint.app.config.job import Config, Job, Node
from mezzotint.errors import ConfigError
from mezzotint.instantiate.build import build, check
from mezzotint.instantiate.locate import locate
from mezzotint.plain_data import as_dict, as_list, lookup, number
from mezzotint.training.amounts import least

if TYPE_CHECKING:
    from mezzotint.data.codecs.base import Bounds, Codec

AUTO, HOME = "mezzotint.diffusion.AutoSpacing", "mezzotint.diffusion."
CLIP = f"{HOME}ClipIfEpsilon"
KARRAS = (
    "EDMSchedule",
    "LaplaceSchedule",
)  # on which steps in time leave out the small noise levels: what Auto finds by itself
MEAN_FLOW = f"{HOME}MeanFlowObjective"
INTERVAL = {"interval": {"_target_": "mezzotint.networks.IntervalCondition"}}
TRAINING = "mezzotint.training."
AMOUNTS = {  # which key of a part may name several amounts, and what they are counted in
    **{f"{TRAINING}{name}": ("warmup", "images") for name in ("AdamW", "Muon", "TorchOptimizer")},
    f"{TRAINING}Log": ("every", "steps"),
    f"{TRAINING}NaNGuard": ("every", "steps"),
}
RUNS_OWN = ("lr", "warmup", "decay", "clip", "groups")  # of an optimizer, what no class of torch takes
SHRINKING = ("optimizer.warmup", "callbacks.log.every", "callbacks.nan_guard.every")  # these, as a user writes them


def written_out(job: Job) -> Job:
    """Write out what a config may leave to us.

    These are grid=auto, the settings around a class of torch.optim, and what follows from the codec, the
    conditions of the data and the objective.
    """
    for write in (with_grid, with_optimizer, with_codec, with_conditions, with_interval):
        job = write(job)
    return job


def with_optimizer(job: Job) -> Job:
    """Put a class of torch.optim at optimizer= into TorchOptimizer, which takes the arguments that it knows itself.

    The momentum that optimizer=muon left there is dropped where the class has none.
    """
    if not str(job.optimizer.get("_target_")).startswith("torch.optim."):
        return job
    own = {key: value for key, value in job.optimizer.items() if key in RUNS_OWN}
    kind = {key: value for key, value in job.optimizer.items() if key not in RUNS_OWN}
    if kind.get("momentum") == muons_momentum() and not takes(job.optimizer, "momentum", "optimizer"):
        del kind["momentum"]
    return replace(job, optimizer={"_target_": f"{TRAINING}TorchOptimizer", "kind": kind | {"_partial_": True}, **own})


def muons_momentum() -> float:
    from mezzotint.training.muon import Muon  # imports torch, which few configs need here

    return Muon.momentum


def with_grid(job: Job) -> Job:
    """Write the grid that grid=auto takes on this schedule in its place, as its own name would have.

    So a run says which it is, and is the same run as one that named it. A schedule that is not ours is asked by `Auto`
    itself.
    """
    if job.grid.get("_target_") != AUTO:
        return job
    schedule = job.schedule
    while inner := as_dict(schedule.get("schedule")):  # of those that change another
        schedule = inner
    name = str(schedule.get("_target_"))
    if not name.startswith(HOME):
        return job
    karras = name.rpartition(".")[2] in KARRAS
    base = {"sigma_min": None, "sigma_max": None, "rho": 7.0} if karras else {}
    return replace(job, grid={**base, **job.grid, "_target_": f"{HOME}{'Karras' if karras else 'Trailing'}"})


def with_codec(job: Job) -> Job:
    """Write what follows from a chosen codec: the shape that the network sees, and the bounds that guidance clips to.

    guidance=clip_epsilon becomes guidance=none for data without bounds.
    """
    if job.codec is None or check(job.codec, "codec"):
        return job
    codec: Codec = build(job.codec, "codec")
    stored = as_list(job.data.get("shape"))
    if stored and job.network.get("shape") == stored:
        with suppress(ConfigError):  # refused with its place where the parts meet
            job = replace(job, network=job.network | {"shape": list(codec.shape(stored))})
    return with_bounds(job, codec.bounds)


def with_bounds(job: Job, bounds: "Bounds | None") -> Job:
    guidance = job.guidance or {}
    if guidance.get("_target_") != CLIP:
        return job
    if bounds is None:
        return replace(job, guidance={"_target_": f"{HOME}no_guidance"})
    if (guidance.get("low", -1.0), guidance.get("high", 1.0)) == (-1.0, 1.0):
        return replace(job, guidance=guidance | {"low": bounds[0], "high": bounds[1]})
    return job


def with_conditions(job: Job) -> Job:
    """Give the conditions of the data to a network that takes conditions and names none."""
    conditions = job.data.get("conditions")
    if not conditions or "conditions" in job.network or not takes_conditions(job.network):
        return job
    return replace(job, network=job.network | {"conditions": deepcopy(conditions)})


def with_interval(job: Job) -> Job:
    """Give the second time to the network of a mean flow, if it takes conditions."""
    if job.objective.get("_target_") != MEAN_FLOW or not takes_conditions(job.network):
        return job
    conditions = {**as_dict(job.network.get("conditions")), **deepcopy(INTERVAL)}
    return replace(job, network=job.network | {"conditions": conditions})


def takes_conditions(network: Node) -> bool:
    """Return whether a network's constructor has an argument for the kinds of its conditions."""
    return takes(network, "conditions", "network")


def takes(node: Node, argument: str, where: str) -> bool:
    """Return whether the class of a node has an argument."""
    with suppress(ConfigError, ValueError, KeyError):  # a class that cannot be found is reported later
        return argument in inspect.signature(locate(node["_target_"], where)).parameters
    return False


def shrink_network(config: Config, given: Sequence[str] = ()) -> None:
    """Apply `tiny`, the sizes that debug=tiny sets, to those arguments that the config of the network lists.

    Args:
        given: keys on the command line, whose values stay.
    """
    sizes, network = as_dict(config.pop("tiny", None)), as_dict(config.get("network"))
    network |= {key: size for key, size in sizes.items() if key in network and f"network.{key}" not in given}


def bounded(job: Job) -> Job:
    """Take the least of each list of amounts, such as warmup=[6400,0.1], for the job's budget.

    The saved config holds the amount taken, so a run keeps it when its budget is raised.
    """
    images, steps = job.budget, -(-job.budget // job.batch_size)
    return with_amounts(job, lambda of, several: least(several, images if of == "images" else steps))


def as_before(job: Job) -> Job:
    """Take the first of each list of amounts, as versions did that knew no bound by the budget."""
    return with_amounts(job, lambda of, several: several[0])


def with_amounts(job: Job, choose: Callable[[str, list[float]], float]) -> Job:
    """Replace each list of amounts by the one chosen from it; invalid lists are left for `check_groups` to refuse."""

    def settled(node: Any) -> Any:
        key, of = AMOUNTS.get(str(lookup(node, "_target_")), ("", ""))
        several = as_list(node.get(key)) if key else []
        if not several or not all(map(positive, several)):
            return node
        return node | {key: choose(of, several)}

    callbacks = {name: settled(node) for name, node in job.callbacks.items()}
    return replace(job, optimizer=settled(job.optimizer), callbacks=callbacks)


def positive(value: Any) -> bool:
    return (number(value) or 0) > 0
