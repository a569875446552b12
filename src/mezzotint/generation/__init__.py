"""Generation: from a denoiser to pictures. The engine that draws numbered samples, and the pictures of them.

Sample i of a seed is one image, whatever else is drawn beside it. Nothing here imports lightning; Pillow and numpy are
imported where a picture is made.
"""

import importlib
from typing import Any

from mezzotint.generation.generator import Film, Generator, Sampling
from mezzotint.generation.pictures import film_strip, gif, grid, show

_PLOTS = (
    "plot_grids",
    "plot_loss",
    "plot_loss_by_level",
    "plot_matrix",
    "plot_schedules",
    "plot_times",
    "plot_weights",
)
__all__ = ["Film", "Generator", "Sampling", "film_strip", "gif", "grid", "show", *_PLOTS]


def __getattr__(name: str) -> Any:
    if name in _PLOTS:
        return getattr(importlib.import_module("mezzotint.generation.plots"), name)
    raise AttributeError(f"module 'mezzotint.generation' has no attribute {name!r}")
