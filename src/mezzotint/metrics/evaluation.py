"""The evaluation engine: one pass over the samples for all metrics, and the protocol of their values."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from mezzotint.data.image_set import ImageSource
from mezzotint.devices import has_float64
from mezzotint.metrics.feature_metric import FeatureMetric, feature_metrics
from mezzotint.metrics.metric import (
    Context,
    Error,
    EvaluatedModel,
    ImageTable,
    Measured,
    Metric,
    ProgressBar,
    no_progress,
)
from mezzotint.metrics.references import add_batch, load_references
from mezzotint.metrics.scored_samples import ScoredSamples
from mezzotint.metrics.statistics_file import StatisticsFile

Labelled = tuple[Tensor, Tensor | None]
Numbered = tuple[Tensor, Tensor | None, Tensor]
SPREAD = "_std"  # behind the name of a value: its error, found by a metric of its own
FEW_REAL = 50  # real images, below which a comparison with them means little
PACKAGES = ("mezzotint", "torch", "torchmetrics", "torch-fidelity")


@dataclass(frozen=True)
class Evaluation:
    """Values by reported name, the protocol that gave them, and notes such as why a distance is not called FID.

    Args:
        errors: standard deviations over seeds, if there were several; for a single evaluation, those over the subsets
            of a kernel distance and the parts of an Inception score, and the standard error of a likelihood.
        pictures: examples of what a value stands for, by metric; not part of the JSON file.
    """

    values: dict[str, float]
    protocol: dict[str, Any]
    notes: tuple[str, ...] = ()
    errors: dict[str, float] = field(default_factory=dict)
    pictures: dict[str, ImageTable] = field(default_factory=dict, compare=False, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return plain containers, for a JSON file."""
        return {
            "values": dict(self.values),
            "protocol": deepcopy(self.protocol),
            "notes": list(self.notes),
            "errors": dict(self.errors),
        }

    def with_notes(self, *notes: str, **protocol: Any) -> Evaluation:
        """Return the same evaluation with more notes and protocol entries."""
        return replace(self, notes=(*self.notes, *notes), protocol=self.protocol | protocol)

    def lines(self) -> list[str]:
        """Return one line per value, rounded to two digits of its error, then the notes."""
        width = max(map(len, self.results), default=0)
        return [f"{name:<{width}}  {self.shown(name)}" for name in self.results] + list(self.notes)

    def shown(self, name: str) -> str:
        """`12.3`, `12.34 +- 0.21 (3 seeds)`, or `0.77 (898 against 899 examples)`."""
        value, error, said = self.values[name], self.error(name), self.compared(name)
        if error is None:
            return f"{value:.4g}{said and f' ({said})'}"
        digits = max(0, 1 - math.floor(math.log10(error.size)))
        return f"{value:.{digits}f} +- {error.size:.{digits}f} ({error.source}{said and f', {said}'})"

    def compared(self, name: str) -> str:
        """The sets that a value compares, where its name does not say so; else empty."""
        metrics = self.protocol.get("metrics", {}).values()
        return next((of["compared"] for of in metrics if of.get("compared") and name in of.get("values", ())), "")

    def error(self, name: str) -> Error | None:
        """The uncertainty of a value: its spread over seeds, its standard error, or that of a bootstrap."""
        seeds = len(self.protocol.get("each", ()))
        size = self.errors.get(name)
        if size and math.isfinite(size):
            if seeds:
                return Error(size, f"{seeds} seeds", size / math.sqrt(seeds))
            known = [of["errors"] for of in self.protocol.get("metrics", {}).values() if name in of.get("errors", ())]
            return Error(size, **known[0][name]) if known else Error(size, "standard error", size)
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
        """Return the evaluation that `as_dict` described. Raises ValueError for anything else."""
        try:
            values, errors = dict(found["values"]), dict(found.get("errors", {}))
            return cls(values, dict(found["protocol"]), tuple(found.get("notes", ())), errors)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError("it is not an evaluation: it has no values with their protocol") from error


def evaluate(
    images: Iterable[Tensor | Labelled | Numbered],
    reference: ImageSource | StatisticsFile,
    metrics: Mapping[str, Metric],
    n: int,
    *,
    device: torch.device | str = "cpu",
    cache: str | Path | None = None,
    about: Mapping[str, Any] | None = None,
    model: EvaluatedModel | None = None,
    progress: ProgressBar = no_progress,
) -> Evaluation:
    """Evaluate exactly n samples by all metrics, in one pass over the samples.

    Metrics that share an extractor share its features. Samples are drawn only if a metric reads them as they come. In
    several processes every process calls this with its own share of the samples, and all return the values of all.

    Args:
        images: batches of uint8 (B, C, H, W), alone, with labels (B,), or with labels and the number of each image
            (B,), which keys random choices; without numbers they are counted in order of arrival.
        reference: the real images.
        metrics: metrics by their names in the config, which orders the values.
        n: samples over all processes.
        device: where extractors run and sums are kept.
        cache: folder for the statistics of the reference; None computes them anew.
        about: where the samples come from (dataset and split, sampler, grid, weights, ...); joins the protocol.
        model: the model that generated them, for metrics that need more than samples.
        progress: opens a progress bar for each further measurement.

    Raises:
        ValueError: another number of images than n. ConfigError: too few images for a metric, or no model for one that
        needs it.
    """
    start = time.perf_counter()
    context = Context(n, len(reference), model, device=torch.device(device), progress=progress)
    for metric in metrics.values():
        metric.validate(context)
    featured = feature_metrics(metrics)
    if featured:
        reset_on(featured, device)
        load_references(featured, reference, device, cache)
    scored = ScoredSamples(metrics, context)
    if featured or scored.scorers:
        add_samples(featured, images, n, context.device, scored)
    scores = scored.gathered()
    measured = {name: metric.measure(replace(context, scores=scores.get(name))) for name, metric in metrics.items()}
    protocol = {
        "n": n if featured or scores else 0,
        "reference": {"count": len(reference), "sha256": reference.digest()},
        "extractors": [
            extractor.protocol()
            for extractor in dict.fromkeys(part for metric in featured.values() for part in metric.extractors)
        ],
        "metrics": {name: protocol_entry(metrics[name], found) for name, found in measured.items()},
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - start, 3),
    }
    of_metrics = (note for found in measured.values() for note in found.notes)
    return Evaluation(
        {name: value for found in measured.values() for name, value in found.values.items()},
        _joined(protocol, about or {}),
        tuple(dict.fromkeys([*few_real(metrics, len(reference)), *of_metrics])),
        {name: error.size for found in measured.values() for name, error in found.errors.items()},
        {name: found.picture for name, found in measured.items() if found.picture is not None},
    )


def protocol_entry(metric: Metric, found: Measured) -> dict[str, Any]:
    """The protocol of one metric: its settings, what it measured, and how to read its values."""
    entry = {**metric.settings(), **found.protocol}
    entry |= {"values": list(found.values), "higher_is_better": bool(metric.higher_is_better)}
    if metric.of_reference:
        entry["of_reference"] = True
    if found.errors:
        entry["errors"] = {name: {"source": e.source, "of_value": e.of_value} for name, e in found.errors.items()}
    return entry


def add_samples(
    metrics: Mapping[str, FeatureMetric],
    images: Iterable[Tensor | Labelled | Numbered],
    n: int,
    device: torch.device,
    scored: ScoredSamples,
) -> None:
    """Add this process's share of the samples to all metrics. Raises ValueError if all shares together are not n."""
    seen = 0
    for batch in images:
        pixels, labels, index = (*((batch,) if isinstance(batch, Tensor) else batch), None, None)[:3]
        pixels = pixels.to(device)
        add_batch(metrics, pixels, real=False, labels=labels, index=index)
        scored.add(pixels, index)
        seen += len(pixels)
    total = _over_processes(seen, device)
    if total != n:
        raise ValueError(
            f"n={n} does not match the {total} samples given, and names would report a wrong n. Give n={total}."
        )


def few_real(metrics: Mapping[str, Metric], count: int) -> list[str]:
    """Return the note on a reference of `count` images, where that is too few for any metric that compares with it."""
    accumulators = (one for metric in feature_metrics(metrics).values() for one in metric.accumulators)
    compared = any(one.side == "real" for one in accumulators)
    if not compared or count >= FEW_REAL:
        return []
    return [
        f"the reference holds {count} real examples: a distance to so few says next to nothing about the samples. "
        "Compare with more, such as reference=train or all."
    ]


def reset_on(metrics: Mapping[str, FeatureMetric], device: torch.device | str) -> None:
    """Empty the metrics, on the device where sums are kept."""
    for metric in metrics.values():
        metric.reset()
        metric.to(device if has_float64(torch.device(device)) else "cpu")


def over_seeds(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Several evaluations of one model with different seeds as one: means, standard deviations, each one's values.

    Raises:
        ValueError: fewer than two, or not of the same metrics.
    """
    if len(evaluations) < 2 or any(one.values.keys() != evaluations[0].values.keys() for one in evaluations):
        raise ValueError(f"{len(evaluations)} evaluation(s) have no spread over seeds. Give two seeds or more.")
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


def _joined(protocol: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    """Both, entry by entry: what the caller says of the reference stands beside its count and hash."""
    merged = dict(protocol)
    for key, value in about.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = {**merged[key], **value} if both else value
    return merged
