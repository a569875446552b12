"""Values derived from other values, written out before a config is saved or compared."""

import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mezzotint.app.config.job import Config, Job
from mezzotint.errors import ConfigError
from mezzotint.instantiate.build import build, check
from mezzotint.instantiate.locate import locate
from mezzotint.plain_data import as_dict, lookup, number
from mezzotint.training.amounts import least

if TYPE_CHECKING:
    from mezzotint.data.codecs.base import Bounds, Codec

AUTO, HOME = "mezzotint.diffusion.AutoSpacing", "mezzotint.diffusion."
CLIP = f"{HOME}ClipIfEpsilon"
KARRAS = (
    "EDMSchedule",
    "LaplaceSchedule",
)  # on which steps in time leave out the small noise levels: what Auto finds by itself
TRAINING = "mezzotint.training."
AMOUNTS = {  # which key of a part may name several amounts, and what they are counted in
    **{f"{TRAINING}{name}": ("warmup", "images") for name in ("AdamW", "Muon", "TorchOptimizer")},
    f"{TRAINING}Log": ("every", "steps"),
    f"{TRAINING}NaNGuard": ("every", "steps"),
}
RUNS_OWN = ("lr", "warmup", "decay", "clip", "groups")  # of an optimizer, what no class of torch takes
SHRINKING = ("optimizer.warmup", "callbacks.log.every", "callbacks.nan_guard.every")  # these, as a user writes them


def write_out(config: Config) -> None:
    """Write out what a config may leave to us: grid=auto, and the settings around a class of torch.optim."""
    write_out_grid(config)
    write_out_optimizer(config)


def write_out_optimizer(config: Config) -> None:
    """Put a class of torch.optim at optimizer= into TorchOptimizer, which takes the arguments that it knows itself."""
    node = as_dict(config.get("optimizer"))
    if str(node.get("_target_")).startswith("torch.optim."):
        own = {key: value for key, value in node.items() if key in RUNS_OWN}
        kind = {key: value for key, value in node.items() if key not in RUNS_OWN}
        config |= {"optimizer": {"_target_": f"{TRAINING}TorchOptimizer", "kind": kind | {"_partial_": True}, **own}}


def write_out_grid(config: Config) -> None:
    """Write the grid that grid=auto takes on this schedule in its place, as its own name would have.

    So a run says which it is, and is the same run as one that named it. A schedule that is not ours is asked by `Auto`
    itself.
    """
    grid, schedule = config.get("grid"), config.get("schedule")
    if lookup(grid, "_target_") != AUTO:
        return
    while inner := as_dict(lookup(schedule, "schedule")):  # of those that change another
        schedule = inner
    name = str(lookup(schedule, "_target_"))
    if name.startswith(HOME):
        karras = name.rpartition(".")[2] in KARRAS
        base = {"sigma_min": None, "sigma_max": None, "rho": 7.0} if karras else {}
        config |= {"grid": {**base, **as_dict(grid), "_target_": f"{HOME}{'Karras' if karras else 'Trailing'}"}}


def write_codec(config: Config) -> None:
    """Write what follows from a chosen codec: the shape that the network sees, and the bounds that guidance clips to.

    guidance=clip_epsilon becomes guidance=none for data without bounds.
    """
    node, network, data = (config.get(key) for key in ("codec", "network", "data"))
    if not isinstance(node, dict) or check(node, "codec"):
        return
    codec: Codec = build(node, "codec")
    stored = data.get("shape") if isinstance(data, dict) else None
    if isinstance(network, dict) and isinstance(stored, list) and network.get("shape") == stored:
        with suppress(ConfigError):  # refused with its place where the parts meet
            network["shape"] = list(codec.shape(stored))
    write_bounds(config, codec.bounds)


def write_bounds(config: Config, bounds: "Bounds | None") -> None:
    guidance = config.get("guidance")
    if not (isinstance(guidance, dict) and guidance.get("_target_") == CLIP):
        return
    if bounds is None:
        config["guidance"] = {"_target_": f"{HOME}no_guidance"}
    elif (guidance.get("low", -1.0), guidance.get("high", 1.0)) == (-1.0, 1.0):
        config["guidance"] = guidance | {"low": bounds[0], "high": bounds[1]}


def shrink_network(config: Config, given: Sequence[str] = ()) -> None:
    """Apply `tiny`, the sizes that debug=tiny sets, to those arguments that the config of the network lists.

    Args:
        given: keys on the command line, whose values stay.
    """
    sizes, network = as_dict(config.pop("tiny", None)), as_dict(config.get("network"))
    network |= {key: size for key, size in sizes.items() if key in network and f"network.{key}" not in given}


def write_conditions(config: Config) -> None:
    """Give the conditions of the data to a network that takes conditions and names none."""
    data, network = config.get("data"), config.get("network")
    if not (isinstance(data, dict) and data.get("conditions") and isinstance(network, dict)) or "conditions" in network:
        return
    with suppress(ConfigError, ValueError):  # a class that cannot be found is reported later
        if "conditions" in inspect.signature(locate(network["_target_"], "network")).parameters:
            config["network"] = {**network, "conditions": deepcopy(data["conditions"])}


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
        several = node.get(key) if key else None
        if not isinstance(several, list) or not several or not all(map(positive, several)):
            return node
        return node | {key: choose(of, several)}

    callbacks = {name: settled(node) for name, node in job.callbacks.items()}
    return replace(job, optimizer=settled(job.optimizer), callbacks=callbacks)


def positive(value: Any) -> bool:
    return (number(value) or 0) > 0
