"""Training: a LightningModule that is a hinge, and callbacks that do the rest, one a file.

`fit` trains a run or resumes it. Everything is counted in images seen, and every random number has a name: nothing
but weights, averages, the optimiser's moments and the open window of the log has to be saved, and a run that was killed
goes on as if it had not been.

What a config names (AdamW, Hardware, EMA, Log, ...) imports no lightning, so that naming it costs nothing. One
Lightning callback, the Bridge in bridge.py, calls the hooks of ours once per optimiser step; Lightning's own callbacks
and loggers may stand beside them.
"""

import importlib
from typing import Any

_HOMES = {
    "AdamW": "optimizers",
    "CSV": "loggers",
    "Callback": "callback",
    "Checkpoints": "checkpoints",
    "EMA": "ema",
    "FiniteLoss": "finite",
    "Hardware": "hardware",
    "Histograms": "histograms",
    "Judge": "judge",
    "Judging": "judge",
    "Log": "log",
    "Logger": "loggers",
    "Module": "module",
    "Preemption": "preemption",
    "Preview": "preview",
    "Progress": "progress",
    "Run": "callback",
    "Score": "callback",
    "Subject": "loggers",
    "TensorBoard": "tensorboard",
    "Validation": "validation",
    "WandB": "wandb",
    "fit": "fitting",
    "newest": "checkpoints",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mezzotint.training' has no attribute {name!r}")
    return getattr(importlib.import_module(f"mezzotint.training.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
