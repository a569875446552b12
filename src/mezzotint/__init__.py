"""Mezzotint: train, sample and evaluate denoising diffusion models.

`import mezzotint` is free: names are imported on first use, so that the command line responds at once.
The mathematics is `mezzotint.diffusion`; `mezzotint.load(directory)` returns the denoiser of a run.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {"load": "mezzotint.runs.load", "show": "mezzotint.figures"}
_ROOMS = (
    "app",
    "cost",
    "data",
    "diffusion",
    "errors",
    "figures",
    "generation",
    "instantiate",
    "metrics",
    "networks",
    "report",
    "runs",
    "training",
)
_FILES = ("reading", "randomness")


def __getattr__(name: str) -> Any:
    if name in (*_ROOMS, *_FILES):
        return importlib.import_module(f"mezzotint.{name}")
    if name.startswith("__"):
        raise AttributeError(f"module 'mezzotint' has no attribute {name!r}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    diffusion = importlib.import_module("mezzotint.diffusion")
    if name in diffusion.__all__:
        return getattr(diffusion, name)
    raise AttributeError(f"module 'mezzotint' has no attribute {name!r}")
