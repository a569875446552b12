"""What `sample` draws and where that lies: how many images, of which classes, in which rows, under which name."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from mezzotint.app.config.job import Job
from mezzotint.app.results.labels import spelt
from mezzotint.app.results.run_folders import mark, writable
from mezzotint.app.terminal import display_path
from mezzotint.errors import ConfigError
from mezzotint.runs import RunDir

LOOK = 64  # images, where n is not given, or fewer that make whole rows
SHOWN = 256  # images in a grid, at most
SEVERAL = range(5, 17)  # columns of a grid in which each column holds one class
LONGEST = 60  # letters of the classes in a file name
PLAIN = ("no_guidance", "ClipIfEpsilon")  # guidance that no name tells
PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".npz")


@dataclass(frozen=True)
class Order:
    """What is drawn.

    Args:
        n: how many images.
        columns: of the grid; None makes it about square.
        heads: what stands above the columns.
        feet: what stands below each image.
        stem: the files' path without what tells them apart.
    """

    n: int
    columns: int | None
    heads: list[str] | None
    feet: list[str] | None
    stem: Path


def order(directory: Path, job: Job, turns: Tensor | None, classes: int, names: Sequence[str]) -> Order:
    """What a config asks for.

    Args:
        turns: the labels that samples have in turn; None for each class once.
        classes: how many the run has.
        names: of the classes; none where they are only numbers.

    Raises:
        ConfigError: n= and the counts of label= disagree.
    """
    counted = isinstance(job.label, dict)
    labels = list(range(classes)) if turns is None else turns.tolist()
    period = len(labels)
    if counted and job.n not in (None, period):
        raise ConfigError(f"n={job.n}: label={spelt(job.label)} asks for {period} images; leave n out")
    columns = None if counted else columns_of(period)
    n = period if counted else job.n or rows(columns, period)
    told = [called(label, names) for label in labels]
    heads = [told[i % period] for i in range(columns)] if columns and period else None
    feet = told if counted else None
    return Order(n, columns, heads, feet, place(directory, job) / (stem(job, labels, told)))


def called(label: int, names: Sequence[str]) -> str:
    if label < 0:
        return "no class"
    return names[label] if label < len(names) else str(label)


def columns_of(period: int) -> int | None:
    """So many columns that each holds one class, in turn with others where there are many of them."""
    if 0 < period < SEVERAL.start:
        return 8 // period * period
    return max((k for k in SEVERAL if period % k == 0), default=None) if period else None


def rows(columns: int | None, period: int) -> int:
    """As many images as make whole rows of all classes, about as many as are looked at."""
    each = max(columns or 1, period)
    return LOOK // each * each if each <= LOOK else each if each <= SHOWN else LOOK


# ------------------------------------------------------------------------------------------------------- where they lie


def name(job: Job) -> str:
    """A file name that tells sampler, grid and steps; the digits behind it tell apart what else differs."""
    parts = [node["_target_"].rpartition(".")[2].lower() for node in (job.sampler, job.grid)]
    steps = job.grid.get("steps")
    parts += [str(steps)] if steps else []
    parts += [f"seed{job.seed}", *([f"step{job.checkpoint}"] if job.checkpoint else [])]
    return f"{'-'.join(parts)}-{mark(job.as_dict(), ('sampler', 'grid', 'guidance', 'seed', 'weights'))}"


def stem(job: Job, labels: Sequence[int], told: Sequence[str]) -> str:
    """The name with what else was asked for, so that two requests never write one file."""
    out = Path(job.out or "")
    if out.suffix.lower() == ".png":
        return out.stem
    parts = [name(job), *guided(job.guidance)]
    parts += [f"n{job.n}"] if job.n else []
    if job.condition is not None:
        parts.append(f"condition-{mark(job.as_dict(), ('condition',))}")
    if job.label is not None:
        counts = {label: labels.count(label) for label in dict.fromkeys(labels)}
        times = isinstance(job.label, dict)
        by_label = dict(zip(labels, told, strict=True))
        kinds = [f"{f'{count}x' if times else ''}{slug(label, by_label[label])}" for label, count in counts.items()]
        whole = "+".join(kinds)
        long = f"{len(kinds)}-{mark(job.as_dict(), ('label',))}"
        parts.append(f"label-{whole if len(whole) <= LONGEST else long}")
    return "-".join(parts)


def guided(node: Mapping[str, Any] | None) -> list[str]:
    """The kind of guidance and its scale, where there is one that changes samples by itself."""
    called = str((node or {}).get("_target_", "")).rpartition(".")[2]
    if not called or called in PLAIN:
        return []
    scale = (node or {}).get("scale")
    return [f"{called.lower()}{scale:g}" if isinstance(scale, int | float) else called.lower()]


def slug(label: int, name: str) -> str:
    """A class as a part of a file name: its number, and its name where it has another one."""
    plain = re.sub(r"\W+", "_", name).strip("_").lower()
    if label < 0 or plain in ("", str(label)):
        return plain or str(label)
    return f"{label}_{plain}"


def place(directory: Path, job: Job) -> Path:
    """The folder of what is drawn."""
    if job.out is None:
        return RunDir(directory).samples
    path = Path(job.out).expanduser()
    return path.parent if path.suffix.lower() == ".png" else path


def check_place(directory: Path, job: Job, many: bool = False) -> None:
    """Refuse, before weights are read, a place that cannot be written.

    Args:
        many: whether several jobs draw, of which each would write the file that is named.

    Raises:
        ConfigError: what cannot be, and what to do.
    """
    folder, out = place(directory, job), job.out
    suffix = Path(out or "").suffix.lower()
    if suffix in PICTURES and suffix != ".png":
        raise ConfigError(f"out={out}: give a folder, or the file of the grid, which ends in .png; others lie beside")
    if suffix == ".png" and (many or Path(out or "").expanduser().is_dir()):
        raise ConfigError(f"out={out}: {'every job would write it' if many else 'it is a folder'}; give another one")
    if out is None:
        RunDir(directory).check_links()
    try:
        writable(folder)
    except ConfigError:
        copy = "and samples lie in their run: copy the run first, or give out=DIR"
        raise ConfigError(f"{folder} cannot be written, {copy if out is None else 'give another out='}") from None


def own_folder(asked: Order) -> Order:
    """The same where its image files replace no others: another number of them has a folder of its own.

    Raises:
        ConfigError: what lies there is something else.
    """
    there = [file.name for file in asked.stem.iterdir()] if asked.stem.is_dir() else []
    strange = sorted(file for file in there if not re.fullmatch(r"\d{6,}\.png", file))
    if strange:
        raise ConfigError(f"{display_path(asked.stem)} would be replaced, and holds {strange[0]}: give another out=")
    more = f"{asked.stem.name}-n{asked.n}"
    return replace(asked, stem=asked.stem.with_name(more)) if there and len(there) != asked.n else asked
