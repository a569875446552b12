"""`mezzotint evaluate images=DIR reference=DIR2`: judge images of any program; there is no run."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mezzotint.app.assembly.parts import build_metrics, placed
from mezzotint.app.commands.evaluate import NOTHING, objective, report
from mezzotint.app.config.resolve import settle_standalone
from mezzotint.app.config.standalone import Standalone
from mezzotint.app.results.git import commit
from mezzotint.app.results.references import Reference, open_images, reference_of, remember, storage
from mezzotint.app.terminal import display_path
from mezzotint.atomic import write_text
from mezzotint.data.image_set import ImageSource
from mezzotint.errors import ConfigError, DataError
from mezzotint.instantiate.build import build
from mezzotint.progress import Advance, bar

if TYPE_CHECKING:
    from mezzotint.metrics.evaluation import Evaluation

BATCH = 256  # images that are decoded at a time
ASKED = ("images", "reference", "data", "n", "metrics", "extractor")  # keys that the values depend on


def main(config: Any) -> float | None:
    job = settle_standalone(config)
    reference = reference_of(job)
    judged = open_judged(job, reference)
    metrics = build_metrics(job, judged.shape or ())
    if not metrics:
        raise ConfigError(NOTHING)
    out = place(job)
    found = judge(job, judged, reference, metrics)
    write_text(out, json.dumps(found.as_dict(), indent=1))
    report(out, found)
    return objective(found)


def open_judged(job: Standalone, reference: Reference) -> Reference:
    """The images to judge.

    Raises:
        DataError: they are not there, too few, or of another size than the reference's.
    """
    path = Path(job.images or "").expanduser()
    if not path.exists():
        raise DataError(f"images={path}: there is no such folder or file. Give a folder of images, or an npz file")
    judged = open_images(path)
    size, real = (shape and tuple(shape[1:]) for shape in (judged.shape, reference.shape))
    if size and real and size != real:
        raise DataError(
            f"the images in {path} are {size[0]} x {size[1]} and those they are judged against {real[0]} x {real[1]} "
            "(height x width). Resize one of them first"
        )
    if job.n and job.n > len(judged.images):
        raise DataError(f"n={job.n}: {path} holds {len(judged.images)} images")
    return judged


def judge(job: Standalone, judged: Reference, reference: Reference, metrics: dict[str, Any]) -> "Evaluation":
    """Evaluate images of any program. Raises ConfigError: a metric needs to know where they come from."""
    from mezzotint.metrics import Context, evaluate

    n = job.n or len(judged.images)
    device = build(job.hardware, "hardware").device
    for name, metric in metrics.items():
        with placed(f"metrics.{name}"):
            metric.validate(Context(n, len(reference.images), labelled=False))
    remember(metrics, reference, device, job.paths["cache"])
    with bar("judging", n) as advance:
        found = evaluate(
            batches(judged.images, n, advance),
            reference.images,
            metrics,
            n,
            device=device,
            cache=job.paths["cache"],
            about=protocol(job, judged, reference, n) | {"device": str(device)},
        )
    return found.with_notes(*storage(judged.about.get("format"), reference.about.get("format")))


def batches(images: ImageSource, n: int, advance: Advance) -> Iterator[Tensor]:
    """n images: all, or a fixed random choice, for files in the order of their names are often sorted by class."""
    count = len(images)
    order = torch.arange(count) if n == count else torch.randperm(count, generator=torch.Generator().manual_seed(0))[:n]
    for indices in order.sort().values.split(BATCH):
        yield images.batch(indices)[0]
        advance(len(indices))


def protocol(job: Standalone, judged: Reference, reference: Reference, n: int) -> dict[str, Any]:
    """What the app knows of the images."""
    count = len(judged.images)
    return {
        "data": job.data,
        "judged": judged.about | {"count": count, "sha256": judged.images.digest()},
        "samples": "all" if n == count else f"{n} of {count}, chosen by a fixed permutation",
        "reference": reference.about,
        "versions": {"commit": commit()},
    }


def place(job: Standalone) -> Path:
    """The file that out= names; else one in the present folder, whose name tells what was asked of which images."""
    if job.out:
        path = Path(job.out).expanduser()
        if path.suffix != ".json" or path.is_dir():
            raise ConfigError(f"out={path}: give a file name that ends in .json")
    else:
        asked = {key: value for key, value in job.as_dict().items() if key in ASKED}
        mark = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:6]
        real = job.reference or str((job.data or {}).get("_target_")).rpartition(".")[2].lower()
        path = Path(f"{stem(job.images or '')}-against-{stem(real)}-{mark}.json")
    folder = path.absolute().parent
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise ConfigError(f"out={display_path(path)}: {folder} is no folder that can be written")
    return path


def stem(path: str) -> str:
    """What a folder or a file is called, wherever one stands: `.` and `..` have names too."""
    there = Path(os.path.abspath(Path(path).expanduser()))
    return there.stem if there.is_file() else there.name
