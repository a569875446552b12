"""Requests of `sample`: number of images, classes, grid layout, and the names of the files."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from mezzotint.app.config.job import Job
from mezzotint.app.results.labels import LabelRequest
from mezzotint.app.results.run_folders import mark, writable
from mezzotint.app.results.sample_files import CONDITIONS
from mezzotint.app.terminal import display_path
from mezzotint.errors import ConfigError
from mezzotint.plain_data import lookup, number
from mezzotint.runs import RunDir

LOOK = 64  # images, where n is not given, or fewer that make whole rows
SHOWN = 256  # images in a grid, at most
SEVERAL = range(5, 17)  # columns of a grid in which each column holds one class
LONGEST = 60  # letters of the classes in a file name
PLAIN = ("no_guidance", "ClipIfEpsilon")  # guidance that file names leave out
PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".npz")


@dataclass(frozen=True)
class Order:
    """The samples to draw and their files.

    Args:
        n: how many images.
        columns: of the grid; None makes it about square.
        heads: texts above the columns.
        feet: texts below the images.
        stem: the common part of the files' paths.
    """

    n: int
    columns: int | None
    heads: list[str] | None
    feet: list[str] | None
    stem: Path


def order(directory: Path, job: Job, turns: Tensor | None, classes: int, names: Sequence[str]) -> Order:
    """Return the samples that a config requests.

    Args:
        turns: the labels that samples have in turn; None for each class once.
        classes: how many the run has.
        names: of the classes; none where they are only numbers.

    Raises:
        ConfigError: n= and the counts of label= disagree.
    """
    asked = LabelRequest.of(job.label)
    counted = asked is not None and asked.counted
    labels = list(range(classes)) if turns is None else turns.tolist()
    period = len(labels)
    if counted and job.n not in (None, period):
        raise ConfigError(f"n={job.n}: label={asked} gives {period} images; leave n out")
    columns = None if counted else columns_of(period)
    n = period if counted else job.n or rows(columns, period)
    class_names = [called(label, names) for label in labels]
    heads = [class_names[i % period] for i in range(columns)] if columns and period else None
    feet = class_names if counted else None
    return Order(n, columns, heads, feet, place(directory, job) / (stem(job, labels, class_names)))


def called(label: int, names: Sequence[str]) -> str:
    if label < 0:
        return "no class"
    return names[label] if label < len(names) else str(label)


def columns_of(period: int) -> int | None:
    """Return a number of columns for which each column holds one class; None if there is none."""
    if 0 < period < SEVERAL.start:
        return 8 // period * period
    return max((k for k in SEVERAL if period % k == 0), default=None) if period else None


def rows(columns: int | None, period: int) -> int:
    """Return a number of images that fills complete rows of all classes, about LOOK."""
    each = max(columns or 1, period)
    return LOOK // each * each if each <= LOOK else each if each <= SHOWN else LOOK


# ---------------------------------------------------------------------------------------------------------- file names


def name(job: Job) -> str:
    """Return a file name with sampler, grid and steps, and a hash of the other settings."""
    parts = [node["_target_"].rpartition(".")[2].lower() for node in (job.sampler, job.grid)]
    steps = job.grid.get("steps")
    parts += [str(steps)] if steps else []
    parts += [f"seed{job.seed}", *([f"step{job.checkpoint}"] if job.checkpoint else [])]
    return f"{'-'.join(parts)}-{mark(job.as_dict(), ('sampler', 'grid', 'guidance', 'seed', 'weights'))}"


def stem(job: Job, labels: Sequence[int], class_names: Sequence[str]) -> str:
    """Return the file name without its ending; different requests have different names."""
    out = Path(job.out or "")
    if out.suffix.lower() == ".png":
        return out.stem
    parts = [name(job), *guided(job.guidance)]
    parts += [f"n{job.n}"] if job.n else []
    if job.condition is not None:
        parts.append(f"condition-{mark(job.as_dict(), ('condition',))}")
    if asked := LabelRequest.of(job.label):
        counts = {label: labels.count(label) for label in dict.fromkeys(labels)}
        by_label = dict(zip(labels, class_names, strict=True))
        times = {label: f"{count}x" if asked.counted else "" for label, count in counts.items()}
        kinds = [f"{times[label]}{slug(label, by_label[label])}" for label in counts]
        whole = "+".join(kinds)
        long = f"{len(kinds)}-{mark(job.as_dict(), ('label',))}"
        parts.append(f"label-{whole if len(whole) <= LONGEST else long}")
    return "-".join(parts)


def guided(node: Mapping[str, Any] | None) -> list[str]:
    """Return the kind of guidance and its scale; empty without guidance."""
    called = str((node or {}).get("_target_", "")).rpartition(".")[2]
    if not called or called in PLAIN:
        return []
    scale = number(lookup(node, "scale"))
    return [called.lower() if scale is None else f"{called.lower()}{scale:g}"]


def slug(label: int, name: str) -> str:
    """Return a class as part of a file name: its label, and its name if it has one."""
    plain = re.sub(r"\W+", "_", name).strip("_").lower()
    if label < 0 or plain in ("", str(label)):
        return plain or str(label)
    return f"{label}_{plain}"


def place(directory: Path, job: Job) -> Path:
    """Return the folder of the samples."""
    if job.out is None:
        return RunDir(directory).samples
    path = Path(job.out).expanduser()
    return path.parent if path.suffix.lower() == ".png" else path


def check_place(directory: Path, job: Job, many: bool = False) -> None:
    """Refuse an output path that cannot be written, before weights are read.

    Args:
        many: whether several jobs draw, of which each would write the file that is named.

    Raises:
        ConfigError: what cannot be, and what to do.
    """
    folder, out = place(directory, job), job.out
    suffix = Path(out or "").suffix.lower()
    if suffix in PICTURES and suffix != ".png":
        raise ConfigError(
            f"out={out}: give a folder, or the file of the grid, ending in .png; the other files are written beside it"
        )
    if suffix == ".png" and (many or Path(out or "").expanduser().is_dir()):
        raise ConfigError(
            f"out={out}: {'every job would overwrite it' if many else 'it is a folder'}; give another one"
        )
    if out is None:
        RunDir(directory).check_links()
    try:
        writable(folder)
    except ConfigError:
        copy = "and samples are written to their run: copy the run first, or give out=DIR"
        raise ConfigError(f"{folder} cannot be written, {copy if out is None else 'give another out='}") from None


def own_folder(asked: Order) -> Order:
    """Return the request with a folder that no other number of image files uses.

    Raises:
        ConfigError: the folder contains other files.
    """
    there = [file.name for file in asked.stem.iterdir()] if asked.stem.is_dir() else []
    there = [file for file in there if file != CONDITIONS]
    strange = sorted(file for file in there if not re.fullmatch(r"\d{6,}\.png", file))
    if strange:
        raise ConfigError(f"{display_path(asked.stem)} would be replaced but contains {strange[0]}: give another out=")
    more = f"{asked.stem.name}-n{asked.n}"
    return replace(asked, stem=asked.stem.with_name(more)) if there and len(there) != asked.n else asked
