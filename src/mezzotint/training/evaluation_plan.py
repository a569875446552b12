"""The evaluation of a run's samples while it trains."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class EvaluationPlan:
    """The evaluation of a run, with nothing built yet.

    Args:
        metrics: builds the metrics, by their names in the config.
        reference: gives the real images.
        cache: folder for the statistics of the real images; None computes them anew each time.
        labels: of the real images and the run's directory, the classes that samples have in turn; None takes each once.
    """

    metrics: Callable[[], Mapping[str, Any]]
    reference: Callable[[], Any]
    cache: str | Path | None = None
    labels: Callable[[Any, Path], Any] = lambda reference, directory: None
