"""The images and minutes that runs took to a given quality, from the metrics of samples in their logs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mezzotint.app.terminal import display_path
from mezzotint.errors import ConfigError
from mezzotint.plain_data import number
from mezzotint.runs import RunDir
from mezzotint.runs.score import read_best

DECIDES = ("data", "reference", "reference_images", "extractor", "labels")  # keys that change what a value means
DRAWN_BY = ("sampler", "grid", "guidance")


@dataclass(frozen=True)
class Evaluated:
    """One evaluation during training.

    Args:
        seconds: of training until then, over all starts, validation and previews included; None if not known.
    """

    images: int
    seconds: float | None
    value: float


@dataclass(frozen=True)
class History:
    """The evaluations of a run while it trained, by the first of its metrics of samples.

    Args:
        name: reported name of the metric.
    """

    run: Path
    name: str
    evaluations: Sequence[Evaluated]
    higher_is_better: bool = False

    def first(self, threshold: float) -> Evaluated | None:
        """Return the first evaluation at the threshold or better; nothing between two of them is interpolated."""
        return next((one for one in self.evaluations if self.reaches(one.value, threshold)), None)

    def reaches(self, value: float, threshold: float) -> bool:
        return value >= threshold if self.higher_is_better else value <= threshold

    @property
    def best(self) -> Evaluated:
        """The best of the evaluations."""
        return (max if self.higher_is_better else min)(self.evaluations, key=lambda one: one.value)


def history(directory: Path) -> History:
    """Read the evaluations that a run made while it trained.

    Raises:
        ConfigError: it made none.
    """
    run = RunDir(directory)
    logged = [(line, values) for line in run.metrics() if (values := line.get("sample_metrics"))]
    name = next(iter(logged[0][1]), "") if logged else ""
    found = [evaluated(line, values[name]) for line, values in logged if number(values.get(name)) is not None]
    if not found:
        raise ConfigError(
            f"{display_path(directory)} was not evaluated while it trained: train with callbacks=sample_metrics"
        )
    score = read_best(run.checkpoints)
    return History(directory, name, found, bool(score and score.name == name and score.higher_is_better))


def evaluated(line: dict[str, Any], value: float) -> Evaluated:
    """Return the evaluation in a line of the log."""
    seconds = number((line.get("time") or {}).get("seconds"))
    return Evaluated(int(line["images"]), seconds, float(value))


def unlike(one: Path, other: Path) -> list[str]:
    """Return the keys in which two runs' evaluations differ, so that their values must not be compared."""
    first, second = (RunDir(directory).config() for directory in (one, other))
    return [key for key in (*DECIDES, *DRAWN_BY) if first.get(key) != second.get(key)] + (
        ["callbacks.sample_metrics"] if settings(first) != settings(second) else []
    )


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of SampleMetrics that change its values, unlike how often it computes them."""
    node = (config.get("callbacks") or {}).get("sample_metrics") or {}
    return {key: value for key, value in node.items() if key not in ("every", "share")}
