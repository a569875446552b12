"""`mezzotint evaluate images=DIR reference=DIR2`: judge images of any program; there is no run."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mezzotint.app.assembly.parts import build_metrics, placed
from mezzotint.app.commands.evaluate import NOTHING, objective, report
from mezzotint.app.config.job import Config
from mezzotint.app.config.standalone import settle_standalone
from mezzotint.app.results.git import commit
from mezzotint.app.results.references import Reference, open_images, remember, storage
from mezzotint.app.terminal import display_path
from mezzotint.atomic import write_text
from mezzotint.data.image_set import ImageSource
from mezzotint.errors import ConfigError, DataError
from mezzotint.instantiate.build import build
from mezzotint.progress import Advance, bar

BATCH = 256  # images that are decoded at a time


def main(config: Any) -> float | None:
    plain, reference = settle_standalone(config)
    judged = open_judged(plain, reference)
    metrics = build_metrics(plain, judged.shape or ())
    if not metrics:
        raise ConfigError(NOTHING)
    out = place(plain)
    found = judge(plain, judged, reference, metrics)
    write_text(out, json.dumps(found, indent=1))
    report(out, found)
    return objective(found)


def open_judged(config: Config, reference: Reference) -> Reference:
    """The images to judge.

    Raises:
        DataError: they are not there, too few, or of another size than the reference's.
    """
    path = Path(config["images"]).expanduser()
    if not path.exists():
        raise DataError(f"images={path}: there is no such folder or file. Give a folder of images, or an npz file")
    judged = open_images(path)
    if reference.shape is not None and judged.shape[1:] != tuple(reference.shape[1:]):
        raise DataError(
            f"the images in {path} are {judged.shape[1]} x {judged.shape[2]} and those they are judged against "
            f"{reference.shape[1]} x {reference.shape[2]} (height x width). Resize one of them first"
        )
    if config["n"] and config["n"] > len(judged.images):
        raise DataError(f"n={config['n']}: {path} holds {len(judged.images)} images")
    return judged


def judge(config: Config, judged: Reference, reference: Reference, metrics: dict[str, Any]) -> dict[str, Any]:
    from mezzotint.metrics import Context, evaluate

    n = config["n"] or len(judged.images)
    device = build(config["hardware"], "hardware").device
    for name, metric in metrics.items():
        with placed(f"metrics.{name}"):
            metric.validate(Context(n, len(reference.images), labelled=False))
    remember(metrics, reference, device, config["paths"]["cache"])
    with bar("judging", n) as advance:
        done = evaluate(
            batches(judged.images, n, advance),
            reference.images,
            metrics,
            n,
            device=device,
            cache=config["paths"]["cache"],
            about=protocol(config, judged, reference, n) | {"device": str(device)},
        )
    return done.with_notes(*storage(judged.about.get("format"), reference.about.get("format"))).as_dict()


def batches(images: ImageSource, n: int, advance: Advance) -> Iterator[Tensor]:
    """n images: all, or a fixed random choice, for files in the order of their names are often sorted by class."""
    count = len(images)
    order = torch.arange(count) if n == count else torch.randperm(count, generator=torch.Generator().manual_seed(0))[:n]
    for indices in order.sort().values.split(BATCH):
        yield images.batch(indices)[0]
        advance(len(indices))


def protocol(config: Config, judged: Reference, reference: Reference, n: int) -> dict[str, Any]:
    """What the app knows of the images."""
    count = len(judged.images)
    return {
        "data": config["data"],
        "judged": judged.about | {"count": count, "sha256": judged.images.digest()},
        "samples": "all" if n == count else f"{n} of {count}, chosen by a fixed permutation",
        "reference": reference.about,
        "versions": {"commit": commit()},
    }


def place(config: Config) -> Path:
    """The file that out= names; else one in the present folder, whose name tells what was asked of which images."""
    if config["out"]:
        path = Path(config["out"]).expanduser()
        if path.suffix != ".json" or path.is_dir():
            raise ConfigError(f"out={path}: give a file name that ends in .json")
    else:
        asked = {key: config[key] for key in ("images", "reference", "data", "n", "metrics", "extractor")}
        mark = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:6]
        real = config["reference"] or config["data"]["_target_"].rpartition(".")[2].lower()
        path = Path(f"{stem(config['images'])}-against-{stem(real)}-{mark}.json")
    folder = path.absolute().parent
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise ConfigError(f"out={display_path(path)}: {folder} is no folder that can be written")
    return path


def stem(path: str) -> str:
    """What a folder or a file is called, wherever one stands: `.` and `..` have names too."""
    there = Path(os.path.abspath(Path(path).expanduser()))
    return there.stem if there.is_file() else there.name
