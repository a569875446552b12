"""Generation: from a denoiser to pictures. The engine that draws numbered samples, and the pictures of them.

Sample i of a seed is one image, whatever else is drawn beside it. Nothing here imports lightning; Pillow and numpy are
imported where a picture is made. Names are imported when they are first used: taking a picture apart needs no torch.
"""

import importlib
from typing import Any

_HOMES = {
    **dict.fromkeys(("Film", "Generator", "Sampling"), "generator"),
    **dict.fromkeys(("film_strip", "gif", "grid", "show"), "pictures"),
    **dict.fromkeys(("plot_grids", "plot_schedules", "plot_times", "plot_weights"), "plots"),
    **dict.fromkeys(("plot_loss", "plot_loss_by_level", "read_metrics"), "losses"),
    **dict.fromkeys(("plot_film", "plot_matrix", "plot_neighbours"), "matrices"),
    "interpolate": "interpolation",
    **dict.fromkeys(("Neighbours", "find_neighbours"), "neighbours"),
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
