"""Statistics of the real images, computed once and found again by what they were made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mezzotint.data.images import Images
from mezzotint.errors import DataError
from mezzotint.metrics.extractor import Extractor
from mezzotint.metrics.keepers import Keeper
from mezzotint.metrics.statistic import FeatureMetric, content_keys
from mezzotint.metrics.statistics_file import StatisticsFile
from mezzotint.processes import position
from mezzotint.whole import whole

VERSION = 3  # of the stored states: raise it when what is stored changes its meaning


def load_references(
    metrics: Mapping[str, FeatureMetric],
    reference: Images | StatisticsFile,
    device: torch.device | str = "cpu",
    cache: str | Path | None = None,
    batch: int = 512,
) -> list[Path]:
    """Gives empty metrics the states of the real images, from the cache where they are, else in one pass.

    All processes call it: each computes its share, and afterwards the first one alone holds the real states, so that
    merging adds them once. A stored file is named by a hash of the images' content, the extractor's weights, its
    preprocessing, the view and what is kept of it: whatever changes, another file is read.

    Returns:
        The stored files, none without a cache.
    """
    rank, _ = position()
    if isinstance(reference, StatisticsFile):
        for metric in metrics.values():
            if rank == 0:
                reference.fill(metric)
            metric.touch()
        return []
    paths = {name: _paths(metric, reference, cache) for name, metric in metrics.items()}
    missing = {name: metrics[name] for name, found in paths.items() if not _stored(list(found.values()))}
    if cache is not None and missing and rank == 0:
        with _storing(Path(cache)):  # noticed before the work and not after it
            pass
    _compute(missing, reference, device, batch)
    for name, found in paths.items():
        for keeper, path in found.items() if rank == 0 else ():
            if name in missing:
                _write(keeper.state(metrics[name]), path)
            else:
                keeper.load(metrics[name], _read(path))
        metrics[name].touch()
    return sorted({path for found in paths.values() for path in found.values() if path})


def add_batch(
    metrics: Mapping[str, FeatureMetric],
    images: Tensor,
    real: bool,
    labels: Tensor | None = None,
    index: Tensor | None = None,
) -> None:
    """Adds a batch to every metric; each extractor sees it once."""
    keys = content_keys(images)
    views: dict[Extractor, dict[str, Tensor]] = {}
    for metric in metrics.values():
        if metric.extractor not in views:
            views[metric.extractor] = metric.extractor.views(images)
        metric.update_features(views[metric.extractor][metric.view], real, keys, labels, index)


def _compute(metrics: Mapping[str, FeatureMetric], reference: Images, device: torch.device | str, batch: int) -> None:
    """Each process adds its share of the reference; then the first one gets the whole, and the others forget theirs."""
    rank, world = position()
    needed = {name: metric for name, metric in metrics.items() if metric.real_keepers}
    share = torch.arange(rank, len(reference), world)
    for indices in share.split(batch) if needed else ():
        images, labels = reference.batch(indices)
        add_batch(needed, images.to(device), real=True, labels=labels, index=indices)
    for metric in needed.values() if world > 1 else ():
        with metric.sync_context():
            merged = [(keeper, _copy(keeper.state(metric))) for keeper in metric.real_keepers]
        metric.reset()
        for keeper, state in merged if rank == 0 else ():
            keeper.load(metric, state)


def _paths(metric: FeatureMetric, reference: Images, cache: str | Path | None) -> dict[Keeper, Path | None]:
    return {keeper: _path(metric, keeper, reference, cache) for keeper in metric.real_keepers}


def _path(metric: FeatureMetric, keeper: Keeper, reference: Images, cache: str | Path | None) -> Path | None:
    if cache is None:
        return None
    made = metric.extractor
    parts = [VERSION, reference.digest(), made.name, made.digest, made.preprocessing, metric.view, keeper.recipe]
    return Path(cache) / f"reference-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}.safetensors"


def _stored(paths: list[Path | None]) -> bool:
    """Whether all files are there, as the first process sees it: all processes must decide alike."""
    found = [all(path is not None and path.is_file() for path in paths)]
    if position()[1] > 1:
        dist.broadcast_object_list(found, src=0)
    return found[0]


def _copy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in state.items()}


def _write(state: Mapping[str, Tensor], path: Path | None) -> None:
    if path is None:
        return
    with _storing(path.parent), whole(path) as part:
        save_file({name: value.cpu().contiguous() for name, value in state.items()}, part)


@contextmanager
def _storing(cache: Path) -> Iterator[None]:
    """A folder that can be written, or DataError."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=cache):
            pass
        yield
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"statistics of the reference cannot be stored in {cache} ({error}): give another paths.cache=DIR."
        ) from error


def _read(path: Path | None) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"the stored statistics {path} are damaged ({error}): delete the file.") from error
