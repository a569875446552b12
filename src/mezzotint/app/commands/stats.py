"""`mezzotint stats data=NAME`: statistics of real images, computed once and found again by every later evaluation."""

import os
from pathlib import Path
from typing import Any

from mezzotint.app.assembly.parts import build_metrics
from mezzotint.app.commands.evaluate import NOTHING
from mezzotint.app.config.resolve import settle_standalone
from mezzotint.app.results.reference_opening import reference_of
from mezzotint.app.results.references import Reference, remember
from mezzotint.app.terminal import display_path
from mezzotint.atomic import atomic_path
from mezzotint.errors import ConfigError
from mezzotint.instantiate.build import build


def main(config: Any) -> None:
    from mezzotint.metrics import feature_metrics

    job = settle_standalone(config)
    reference = reference_of(job)
    for key, value in (("images", job.images), ("n", job.n)):
        if value is not None:
            raise ConfigError(f"{key}= is for evaluate: statistics are of all images of data= or reference=")
    if reference.shape is None:
        raise ConfigError(
            f"{display_path(job.reference or '')} already holds statistics: give it to evaluate as reference="
        )
    metrics = feature_metrics(build_metrics(job, reference.shape, reference.codec))
    out = None if job.out is None else named(Path(job.out).expanduser(), metrics)
    if not metrics:
        raise ConfigError(NOTHING)
    cache = Path(job.paths["cache"])
    before = set(cache.glob("*"))
    files = remember(metrics, reference, build(job.hardware, "hardware").device, str(cache))
    print(f"{len(reference.images):,} {reference.plural}, sha256 {reference.images.digest()}")
    for file in files:
        print(f"{'found' if file in before else 'written'}: {display_path(file)}")
    if out is not None:
        export(out, metrics, reference)
        print(display_path(out))


def named(path: Path, metrics: dict[str, Any]) -> Path:
    """The file that out= names, if it can be written and there will be something to write."""
    if path.suffix != ".npz" or path.is_dir():
        raise ConfigError(f"out={path}: give a file name that ends in .npz")
    if not path.absolute().parent.is_dir() or not os.access(path.absolute().parent, os.W_OK):
        raise ConfigError(f"out={path}: {path.absolute().parent} is not a writable folder")
    if not moments(metrics):
        raise ConfigError("out= holds mean and covariance, which only metrics=[fid] and sfid keep: choose one of them")
    return path


def moments(metrics: dict[str, Any]) -> dict[str, Any]:
    """The Frechet metrics, one for each view of the features."""
    from mezzotint.metrics import FrechetDistance

    return {metric.view: metric for metric in metrics.values() if isinstance(metric, FrechetDistance)}


def export(path: Path, metrics: dict[str, Any], reference: Reference) -> None:
    """Mean and covariance as other programs read them: mu and sigma, of the spatial view mu_s and sigma_s.

    In addition: the number of images, the extractor with its hash, and the hash of the images.
    """
    import numpy as np

    from mezzotint.metrics.statistics_file import NAMES

    arrays: dict[str, Any] = {"count": len(reference.images), "reference_sha256": reference.images.digest()}
    for view, metric in moments(metrics).items():
        found = metric.real.moments()
        names = NAMES[view]
        arrays |= {names[0]: found.mean.cpu().numpy(), names[1]: found.covariance.cpu().numpy()}
        arrays |= {"extractor": metric.extractor.name, "extractor_sha256": metric.extractor.digest}
    with atomic_path(path) as part:
        np.savez(part, **arrays)
