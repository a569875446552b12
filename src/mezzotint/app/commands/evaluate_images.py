"""`mezzotint evaluate images=PATH reference=PATH2`: metrics of samples from any program, without a run."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mezzotint.app.assembly.parts import build_metrics, placed
from mezzotint.app.commands.evaluate import NOTHING
from mezzotint.app.config.resolve import settle_standalone
from mezzotint.app.config.standalone import Standalone
from mezzotint.app.results.evaluation_table import objective, report
from mezzotint.app.results.git import commit
from mezzotint.app.results.reference_opening import check_alike, open_images, reference_of, storage
from mezzotint.app.results.references import Reference, remember
from mezzotint.app.terminal import display_path
from mezzotint.atomic import write_text
from mezzotint.data import PixelCodec
from mezzotint.data.image_set import ImageSource
from mezzotint.errors import ConfigError, DataError
from mezzotint.instantiate.build import build
from mezzotint.instantiate.nodes import node_of
from mezzotint.progress import Advance, bar

if TYPE_CHECKING:
    from mezzotint.metrics.evaluation import Evaluation

BATCH = 256  # images that are decoded at a time
ASKED = ("images", "reference", "data", "n", "metrics", "extractor")  # keys that the values depend on


def main(config: Any) -> float | None:
    job = settle_standalone(config)
    reference = reference_of(job)
    samples = open_samples(job, reference)
    metrics = build_metrics(job, samples.shape or (), samples.codec)
    if not metrics:
        raise ConfigError(NOTHING)
    out = place(job)
    found = evaluate_samples(job, samples, reference, metrics)
    write_text(out, json.dumps(found.as_dict(), indent=1))
    report(out, found)
    return objective(found)


def open_samples(job: Standalone, reference: Reference) -> Reference:
    """Open the samples to evaluate, with the codec of the reference.

    Raises:
        DataError: they are not there, too few, or of another size or type than the reference's; or the reference is
            statistics of data whose codec is unknown.
    """
    path = Path(job.images or "").expanduser()
    if not path.exists():
        raise DataError(
            f"images={path}: there is no such folder or file. Give a folder of images, an npz file, or a file of arrays"
        )
    samples = open_images(path)
    shape, codec = samples.shape or (), samples.codec or PixelCodec()
    if reference.codec is None and not codec.is_image(shape):
        raise ConfigError(
            "the reference is statistics of features, and for data that are not images the features depend on the "
            "codec: give codec=standardize with the mean, std and stored that they were computed with"
        )
    wanted = reference.codec or codec
    check_alike(f"images={path}", shape, codec, reference.shape or shape, wanted, "the reference")
    if job.n and job.n > len(samples.images):
        raise DataError(f"n={job.n}: {path} holds {len(samples.images)} {samples.plural}")
    return samples.coded(wanted)


def evaluate_samples(
    job: Standalone, samples: Reference, reference: Reference, metrics: dict[str, Any]
) -> "Evaluation":
    """Evaluate samples of any program. Raises ConfigError: a metric needs to know where they come from."""
    from mezzotint.metrics import Context, evaluate

    n = job.n or len(samples.images)
    device = build(job.hardware, "hardware").device
    for name, metric in metrics.items():
        with placed(f"metrics.{name}"):
            metric.validate(Context(n, len(reference.images), labelled=False))
    remember(metrics, reference, device, job.paths["cache"])
    with bar("evaluating", n) as advance:
        found = evaluate(
            batches(samples.images, n, advance),
            reference.images,
            metrics,
            n,
            device=device,
            cache=job.paths["cache"],
            about=protocol(job, samples, reference, n) | {"device": str(device)},
        )
    return found.with_notes(*storage(samples.about.get("format"), reference.about.get("format")))


def batches(images: ImageSource, n: int, advance: Advance) -> Iterator[Tensor]:
    """n images: all, or a fixed random choice, for files in the order of their names are often sorted by class."""
    count = len(images)
    order = torch.arange(count) if n == count else torch.randperm(count, generator=torch.Generator().manual_seed(0))[:n]
    for indices in order.sort().values.split(BATCH):
        yield images.batch(indices)[0]
        advance(len(indices))


def protocol(job: Standalone, samples: Reference, reference: Reference, n: int) -> dict[str, Any]:
    """Return the protocol entries on the images."""
    count = len(samples.images)
    return {
        "data": job.data,
        **(
            {}
            if samples.codec is None or samples.codec.is_image(samples.shape or ())
            else {"codec": node_of(samples.codec)}
        ),
        "judged": samples.about | {"count": count, "sha256": samples.images.digest()},
        "samples": "all" if n == count else f"{n} of {count}, chosen by a fixed permutation",
        "reference": reference.about,
        "versions": {"commit": commit()},
    }


def place(job: Standalone) -> Path:
    """Return the file of out=, or one in the working directory, named after the images and a hash of the config."""
    if job.out:
        path = Path(job.out).expanduser()
        if path.suffix != ".json" or path.is_dir():
            raise ConfigError(f"out={path}: give a file name that ends in .json")
    else:
        asked = {key: value for key, value in job.as_dict().items() if key in ASKED or (key == "codec" and value)}
        mark = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:6]
        real = job.reference or str((job.data or {}).get("_target_")).rpartition(".")[2].lower()
        path = Path(f"{stem(job.images or '')}-against-{stem(real)}-{mark}.json")
    folder = path.absolute().parent
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise ConfigError(f"out={display_path(path)}: {folder} is not a writable folder")
    return path


def stem(path: str) -> str:
    """Return the name of a folder or file, also for `.` and `..`."""
    there = Path(os.path.abspath(Path(path).expanduser()))
    return there.stem if there.is_file() else there.name
