"""The engine: one pass over drawn images, every metric, and the protocol that gave the values."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from mezzotint.data.image_set import ImageSource
from mezzotint.metrics.metric import Error, FeatureMetric
from mezzotint.metrics.references import add_batch, load_references
from mezzotint.metrics.statistics_file import StatisticsFile

Labelled = tuple[Tensor, Tensor | None]
Numbered = tuple[Tensor, Tensor | None, Tensor]
SPREAD = "_std"  # behind the name of a value: its error, found by a metric of its own
PACKAGES = ("mezzotint", "torch", "torchmetrics", "torch-fidelity")


@dataclass(frozen=True)
class Evaluation:
    """Values by their reported names, what made them, and notes such as why a distance is not called FID.

    Args:
        errors: the standard deviation over seed ranges, where there were several; of one evaluation that over the
            subsets of a kernel distance and the parts of an Inception score, and the standard error of a likelihood.
    """

    values: dict[str, float]
    protocol: dict[str, Any]
    notes: tuple[str, ...] = ()
    errors: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain containers, for a JSON file."""
        return asdict(self) | {"notes": list(self.notes)}

    def lines(self) -> list[str]:
        """For people: one line a value, then the notes. Two digits of the error, and the value as far as these go."""
        width = max(map(len, self.results), default=0)
        return [f"{name:<{width}}  {self.shown(name)}" for name in self.results] + list(self.notes)

    def shown(self, name: str) -> str:
        """`12.3`, `12.34 +- 0.21 (3 seeds)`, or `0.77 (898 against 899 images)`."""
        value, error, said = self.values[name], self.error(name), self.compared(name)
        if error is None:
            return f"{value:.4g}{said and f' ({said})'}"
        digits = max(0, 1 - math.floor(math.log10(error.size)))
        return f"{value:.{digits}f} +- {error.size:.{digits}f} ({error.source}{said and f', {said}'})"

    def compared(self, name: str) -> str:
        """What a value compares, in words, where its name does not say it."""
        metrics = self.protocol.get("metrics", {}).values()
        return next((of["compared"] for of in metrics if of.get("compared") and name in of.get("values", ())), "")

    def error(self, name: str) -> Error | None:
        """What is known of a value's error: its spread over seeds, its standard error, or the bootstrap's beside it."""
        seeds = len(self.protocol.get("each", ()))
        size = self.errors.get(name)
        if size and math.isfinite(size):
            if seeds:
                return Error(size, f"{seeds} seeds", size / math.sqrt(seeds))
            told = [of["errors"] for of in self.protocol.get("metrics", {}).values() if name in of.get("errors", ())]
            return Error(size, **told[0][name]) if told else Error(size, "standard error", size)
        size = self.values.get(f"{name}{SPREAD}")
        return Error(size, "bootstrap", size / math.sqrt(seeds or 1)) if size and math.isfinite(size) else None

    @property
    def results(self) -> list[str]:
        """The names of the values that are not the error of another one."""
        return [
            name for name in self.values if name.removesuffix(SPREAD) == name or name[: -len(SPREAD)] not in self.values
        ]

    @classmethod
    def of_dict(cls, found: Mapping[str, Any]) -> Evaluation:
        """What `as_dict` gave. Raises ValueError: this is nothing of the kind."""
        try:
            values, errors = dict(found["values"]), dict(found.get("errors", {}))
            return cls(values, dict(found["protocol"]), tuple(found.get("notes", ())), errors)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError("it has no values with their protocol") from error


def evaluate(
    images: Iterable[Tensor | Labelled | Numbered],
    reference: ImageSource | StatisticsFile,
    metrics: Mapping[str, FeatureMetric],
    n: int,
    *,
    device: torch.device | str = "cpu",
    cache: str | Path | None = None,
    about: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Judges exactly n drawn images against a reference, in one pass whatever the number of metrics.

    Metrics that share an extractor share its passes. In several processes each gives its own share of the images to its
    own call, all call, and all get the values of the whole.

    Args:
        images: batches of uint8 (B, C, H, W), alone, with labels (B,) or with labels and the number of each image
            (B,), by which random choices are made; without numbers they are counted as they come.
        reference: the real images.
        metrics: built metrics, by the names they have in the config.
        n: drawn images over all processes.
        device: where extractors run and sums are kept.
        cache: folder for the statistics of the reference; None computes them anew.
        about: what else made the images (dataset and split, sampler, grid, weights, ...); joins the protocol.

    Raises:
        ValueError: another number of images than n. ConfigError: too few for a metric.
    """
    start = time.perf_counter()
    device = torch.device(device)
    for metric in metrics.values():
        metric.expect(n, len(reference))
    empty(metrics, device)
    load_references(metrics, reference, device, cache)
    seen = 0
    for batch in images:
        pixels, labels, index = (*((batch,) if isinstance(batch, Tensor) else batch), None, None)[:3]
        add_batch(metrics, pixels.to(device), real=False, labels=labels, index=index)
        seen += len(pixels)
    total = _over_processes(seen, device)
    if total != n:
        raise ValueError(f"the evaluation is of n={n} images, and {total} were drawn: values would carry a wrong n.")
    each = {name: metric.values(n, len(reference)) for name, metric in metrics.items()}
    values = {label: value for found in each.values() for label, value in found.items()}
    notes = dict.fromkeys(note for metric in metrics.values() for note in metric.notes(n, len(reference)))
    protocol = _protocol(metrics, reference, n, time.perf_counter() - start)
    for name, found in each.items():
        protocol["metrics"][name] |= {"values": list(found), "higher_is_better": metrics[name].higher_is_better}
        if said := metrics[name].compared(n, len(reference)):
            protocol["metrics"][name]["compared"] = said
    errors = {}
    for name, metric in metrics.items():
        if found := metric.errors(n, len(reference)):
            errors |= {label: error.size for label, error in found.items()}
            told = {label: {"source": error.source, "of_value": error.of_value} for label, error in found.items()}
            protocol["metrics"][name]["errors"] = told
    return Evaluation(values, _joined(protocol, about or {}), tuple(notes), errors)


def empty(metrics: Mapping[str, FeatureMetric], device: torch.device | str) -> None:
    """Makes metrics as good as new, on the device where sums are kept."""
    for metric in metrics.values():
        metric.reset()
        metric.to("cpu" if torch.device(device).type == "mps" else device)  # Apple's GPUs have no float64


def over_seeds(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Several evaluations of one model with different seeds as one: means, standard deviations, each one's values.

    Raises:
        ValueError: fewer than two, or not of the same metrics.
    """
    if len(evaluations) < 2 or any(one.values.keys() != evaluations[0].values.keys() for one in evaluations):
        raise ValueError(f"{len(evaluations)} evaluations of equal metrics are no spread: give two seeds or more.")
    columns = {name: [one.values[name] for one in evaluations] for name in evaluations[0].values}
    first = evaluations[0]
    protocol = first.protocol | {"each": [one.values for one in evaluations]}
    protocol["seconds"] = sum(one.protocol["seconds"] for one in evaluations)
    means = {name: mean(column) for name, column in columns.items()}
    return Evaluation(means, protocol, first.notes, {name: stdev(column) for name, column in columns.items()})


def _over_processes(count: int, device: torch.device) -> int:
    if not (dist.is_available() and dist.is_initialized()):
        return count
    total = torch.tensor(count, device=device)
    dist.all_reduce(total)
    return int(total)


def _protocol(
    metrics: Mapping[str, FeatureMetric], reference: ImageSource | StatisticsFile, n: int, seconds: float
) -> dict[str, Any]:
    """What this room knows of how the values came about."""
    extractors = dict.fromkeys(metric.extractor for metric in metrics.values())
    return {
        "n": n,
        "reference": {"count": len(reference), "sha256": reference.digest()},
        "extractors": [extractor.protocol() for extractor in extractors],
        "metrics": {name: metric.settings() for name, metric in metrics.items()},
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
    }


def _joined(protocol: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    """Both, entry by entry: what the caller says of the reference stands beside its count and hash."""
    merged = dict(protocol)
    for key, value in about.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = {**merged[key], **value} if both else value
    return merged
