"""Choices that follow others, written out before a config is saved or compared."""

from typing import Any

Config = dict[str, Any]

AUTO, HOME = "mezzotint.diffusion.Auto", "mezzotint.diffusion."
KARRAS = ("EDM", "Laplace")  # on which steps in time leave out the small noise levels: what Auto finds by itself


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
