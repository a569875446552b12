"""Choices that follow others, written out before a config is saved or compared."""

from collections.abc import Callable
from typing import Any

from mezzotint.training.amounts import least

Config = dict[str, Any]

AUTO, HOME = "mezzotint.diffusion.AutoSpacing", "mezzotint.diffusion."
KARRAS = (
    "EDMSchedule",
    "LaplaceSchedule",
)  # on which steps in time leave out the small noise levels: what Auto finds by itself
TRAINING = "mezzotint.training."
AMOUNTS = {  # which key of a part may name several amounts, and what they are counted in
    f"{TRAINING}AdamW": ("warmup", "images"),
    f"{TRAINING}Log": ("every", "steps"),
    f"{TRAINING}NaNGuard": ("every", "steps"),
}
SHRINKING = ("optimizer.warmup", "callbacks.log.every", "callbacks.nan_guard.every")  # these, as a user writes them


def write_out(config: Config) -> None:
    """Write the grid that grid=auto takes on this schedule in its place, as its own name would have.

    So a run says which it is, and is the same run as one that named it. A schedule that is not ours is asked by `Auto`
    itself.
    """
    grid, schedule = config.get("grid"), config.get("schedule")
    if not (isinstance(grid, dict) and grid.get("_target_") == AUTO):
        return
    while isinstance(schedule, dict) and isinstance(schedule.get("schedule"), dict):  # of those that change another
        schedule = schedule["schedule"]
    name = str(schedule.get("_target_")) if isinstance(schedule, dict) else ""
    if name.startswith(HOME):
        karras = name.rpartition(".")[2] in KARRAS
        base = {"sigma_min": None, "sigma_max": None, "rho": 7.0} if karras else {}
        config["grid"] = {**base, **grid, "_target_": f"{HOME}{'Karras' if karras else 'Trailing'}"}


def bounded(config: Config) -> Config:
    """The config in which each amount that may be one of several, as warmup=[6400,0.1], is the least of them.

    So a run says what it took, and keeps it when its budget is raised.
    """
    images, steps = config["budget"], -(-config["budget"] // config["batch_size"])
    return with_amounts(config, lambda of, several: least(several, images if of == "images" else steps))


def as_before(config: Config) -> Config:
    """The config as it was understood before amounts shrank with the budget: the first of several is taken as it is."""
    return with_amounts(config, lambda of, several: several[0])


def with_amounts(config: Config, choose: Callable[[str, list[float]], float]) -> Config:
    """The config with one amount chosen from each list of them; what is not to be chosen from is left to be refused."""

    def settled(node: Any) -> Any:
        key, of = AMOUNTS.get(str(node.get("_target_")) if isinstance(node, dict) else "", ("", ""))
        several = node.get(key) if key else None
        if not isinstance(several, list) or not several or not all(map(positive, several)):
            return node
        return node | {key: choose(of, several)}

    callbacks = {name: settled(node) for name, node in config["callbacks"].items()}
    return config | {"optimizer": settled(config["optimizer"]), "callbacks": callbacks}


def positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < float("inf")
