"""Statistics of the real images, computed once and found again by what they were made of."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor

from mezzotint.data.images import Images
from mezzotint.errors import DataError
from mezzotint.metrics.extractor import Extractor
from mezzotint.metrics.statistic import FeatureMetric, content_keys

VERSION = 1  # of the stored states: raise it when what is stored changes its meaning


def load_references(
    metrics: Mapping[str, FeatureMetric], reference: Images, cache: Path | None, device: torch.device, batch: int = 512
) -> None:
    """Gives every metric the states of the real images, from the cache where they are, else in one pass.

    All processes call it: each computes its share, and afterwards the first one alone holds the real states, so that
    merging adds them once. A stored file is named by a hash of the images' content, the extractor's weights, its
    preprocessing and the metric's recipe: whatever changes, another file is read.
    """
    paths = {name: _path(metric, reference, cache) for name, metric in metrics.items() if metric.recipe}
    missing = {name: metrics[name] for name, path in paths.items() if not _everywhere(path)}
    states = _compute(missing, reference, device, batch)
    for name, path in paths.items():
        metrics[name].reset()
        state = states.get(name)
        if state is not None and path is not None and _rank() == 0:
            _write(state, path)
        if _rank() == 0:
            metrics[name].load_reference(_read(path) if state is None else state)


def _compute(
    metrics: Mapping[str, FeatureMetric], reference: Images, device: torch.device, batch: int
) -> dict[str, dict[str, Tensor]]:
    """The merged states of the real images, for each metric."""
    if not metrics:
        return {}
    share = torch.arange(_rank(), len(reference), _world())
    for indices in share.split(batch):
        add_batch(metrics, reference.batch(indices)[0].to(device), real=True)
    states = {}
    for name, metric in metrics.items():
        with metric.sync_context():
            states[name] = {key: value.cpu().clone() for key, value in metric.reference_state().items()}
    return states


def add_batch(metrics: Mapping[str, FeatureMetric], images: Tensor, real: bool) -> None:
    """Adds a batch to every metric; each extractor sees it once."""
    keys = content_keys(images)
    views: dict[Extractor, dict[str, Tensor]] = {}
    for metric in metrics.values():
        if metric.extractor not in views:
            views[metric.extractor] = metric.extractor.views(images)
        metric.update_features(views[metric.extractor][metric.view], real, keys)


def _path(metric: FeatureMetric, reference: Images, cache: Path | None) -> Path | None:
    if cache is None:
        return None
    extractor = metric.extractor
    parts = [VERSION, reference.digest(), extractor.name, extractor.digest, extractor.preprocessing, metric.recipe]
    return cache / f"reference-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}.safetensors"


def _everywhere(path: Path | None) -> bool:
    """Whether the file is there, as the first process sees it: all processes must decide alike."""
    found = [path is not None and path.is_file()]
    if dist.is_available() and dist.is_initialized():
        dist.broadcast_object_list(found, src=0)
    return found[0]


def _write(state: dict[str, Tensor], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    save_file({name: value.contiguous() for name, value in state.items()}, part)
    os.replace(part, path)


def _read(path: Path | None) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except Exception as error:
        raise DataError(f"the stored statistics {path} are damaged ({error}): delete the file.") from error


def _rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def _world() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
