"""Reference statistics: states of the real images, cached by what they were computed from."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mezzotint.atomic import atomic_path
from mezzotint.data.image_set import ImageSource
from mezzotint.distributed import rank_and_world
from mezzotint.errors import DataError
from mezzotint.metrics.accumulators import Accumulator
from mezzotint.metrics.extractors.base import Extractor
from mezzotint.metrics.feature_metric import FeatureMetric, content_keys
from mezzotint.metrics.statistics_file import StatisticsFile

States = dict[Accumulator, dict[str, Tensor]]
VERSION = 3  # of the cached states: raise it when their meaning changes


def load_references(
    metrics: Mapping[str, FeatureMetric],
    reference: ImageSource | StatisticsFile,
    device: torch.device | str = "cpu",
    cache: str | Path | None = None,
    batch: int = 512,
) -> list[Path]:
    """Load the states of the real images into empty metrics, from the cache if possible, else in one pass.

    Every process calls it and computes its share; afterwards only the first process holds the real states, so that
    merging adds them once. A cached file is named by a hash of the images' content, the extractor's weights, its
    preprocessing, the view and what is kept of it, so a change of any of them leads to another file. It contains a hash
    of its tensors; a damaged file is computed anew.

    Returns:
        The cached files; none without a cache.

    Raises:
        DataError: the cache cannot be written. ConfigError: published statistics do not serve a metric.
    """
    rank, _ = rank_and_world()
    if isinstance(reference, StatisticsFile):
        for metric in metrics.values():
            if rank == 0:
                reference.fill(metric)
            metric.mark_updated()
        return []
    paths = {name: _paths(metric, reference, cache) for name, metric in metrics.items()}
    stored = _agreed({name: _stored(found) for name, found in paths.items()} if rank == 0 else {})
    missing = {name: metrics[name] for name, states in stored.items() if states is None}
    if cache is not None and missing and rank == 0:
        with _storing(Path(cache)):  # before the work, not after it
            pass
    _compute(missing, reference, device, batch)
    for name, states in stored.items():
        for accumulator, path in paths[name].items() if rank == 0 else ():
            if states is None:
                _write(accumulator.state(), path)
            else:
                accumulator.load(states[accumulator])
        metrics[name].mark_updated()
    return sorted({path for found in paths.values() for path in found.values() if path})


def add_batch(
    metrics: Mapping[str, FeatureMetric],
    images: Tensor,
    real: bool,
    labels: Tensor | None = None,
    index: Tensor | None = None,
) -> None:
    """Add a batch to every metric, with one pass through each extractor."""
    keys = content_keys(images)
    views: dict[Extractor, dict[str, Tensor]] = {}
    for metric in metrics.values():
        if metric.extractor not in views:
            views[metric.extractor] = metric.extractor.views(images)
        metric.update_features(views[metric.extractor][metric.view], real, keys, labels, index)


def _compute(
    metrics: Mapping[str, FeatureMetric], reference: ImageSource, device: torch.device | str, batch: int
) -> None:
    """Add each process's share of the reference, and move the merged states to the first process."""
    rank, world = rank_and_world()
    needed = {name: metric for name, metric in metrics.items() if metric.reference_accumulators}
    share = torch.arange(rank, len(reference), world)
    for indices in share.split(batch) if needed else ():
        images, labels = reference.batch(indices)
        add_batch(needed, images.to(device), real=True, labels=labels, index=indices)
    for metric in needed.values() if world > 1 else ():
        with metric.sync_context():
            merged = [(accumulator, _copy(accumulator.state())) for accumulator in metric.reference_accumulators]
        metric.reset()
        for accumulator, state in merged if rank == 0 else ():
            accumulator.load(state)


def _paths(metric: FeatureMetric, reference: ImageSource, cache: str | Path | None) -> dict[Accumulator, Path | None]:
    return {accumulator: _path(metric, accumulator, reference, cache) for accumulator in metric.reference_accumulators}


def _path(
    metric: FeatureMetric, accumulator: Accumulator, reference: ImageSource, cache: str | Path | None
) -> Path | None:
    if cache is None:
        return None
    made = metric.extractor
    parts = [
        VERSION,
        reference.digest(),
        made.name,
        made.digest,
        made.preprocessing,
        metric.view,
        accumulator.cache_key,
    ]
    return Path(cache) / f"reference-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}.safetensors"


def _stored(paths: Mapping[Accumulator, Path | None]) -> States | None:
    """Return the states in the files, or None if one is missing or damaged."""
    found: States = {}
    for accumulator, path in paths.items():
        state = _read(path) if path is not None and path.is_file() else None
        if state is None:
            return None
        found[accumulator] = state
    return found


def _agreed(stored: dict[str, States | None]) -> dict[str, States | None]:
    """Return the first process's view, so that all decide alike; other processes get no tensors."""
    if rank_and_world()[1] == 1:
        return stored
    shared = [{name: None if states is None else {} for name, states in stored.items()}]
    dist.broadcast_object_list(shared, src=0)
    return stored if rank_and_world()[0] == 0 else shared[0]


def _copy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in state.items()}


def _write(state: Mapping[str, Tensor], path: Path | None) -> None:
    if path is None:
        return
    with _storing(path.parent), atomic_path(path) as part:
        held = {name: value.cpu().contiguous() for name, value in state.items()}
        save_file(held, part, {"sha256": _sha256(held, path.name)})


@contextmanager
def _storing(cache: Path) -> Iterator[None]:
    """Require a folder that can be written. Raises DataError."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=cache):
            pass
        yield
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"statistics of the reference cannot be stored in {cache} ({error}): give another paths.cache=DIR."
        ) from error


def _read(path: Path) -> dict[str, Tensor] | None:
    """Return the states in a file, or None, with a line on standard error, if it is damaged."""
    try:
        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            expected = (file.metadata() or {}).get("sha256")
        if expected == _sha256(state, path.name):
            return state
        reason = "its content does not match its hash"
    except Exception as error:  # flipped bits lead to errors of any type
        reason = str(error) or type(error).__name__
    print(f"{path} is damaged ({reason}); the reference is computed again.", file=sys.stderr, flush=True)
    return None


def _sha256(state: Mapping[str, Tensor], place: str) -> str:
    """Return the hash of the file's name, which identifies its origin, and of names, types, shapes and bytes in it."""
    hashed = hashlib.sha256(place.encode())
    for name, value in sorted(state.items()):
        hashed.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        hashed.update(value.contiguous().flatten().view(torch.uint8).numpy().data)
    return hashed.hexdigest()
