"""`mezzotint prepare data=NAME`: the index of a large set of images, made once, or a conversion to one file."""

from pathlib import Path
from typing import Any

from mezzotint.app.assembly.parts import placed
from mezzotint.app.commands.encode import UNUSED
from mezzotint.app.config.arguments import spoken_keys
from mezzotint.app.config.job import Job, Node
from mezzotint.app.config.resolve import settle
from mezzotint.app.launch import ranks
from mezzotint.app.launch.hydra_hooks import in_sweep
from mezzotint.app.terminal import display_path
from mezzotint.data.conversion import OUTPUTS, Conversion, convert
from mezzotint.data.dataset import Dataset
from mezzotint.data.index.source import Source, prepare_source
from mezzotint.errors import ConfigError
from mezzotint.instantiate.build import build
from mezzotint.progress import bar
from mezzotint.training.hardware.memory import size


def main(config: Any) -> None:
    """Make the indexes of a dataset, report all images of no use, and convert the images where out= is given.

    Raises:
        ConfigError, DataError: there is nothing to prepare, or an image cannot be used.
    """
    job = settle(config, without=UNUSED)
    check(job)
    dataset: Dataset = build(wanted(job), "data")
    file = output(job, dataset)
    sources = dataset.sources()
    if not sources and file is None:
        raise ConfigError(
            f"data: {dataset.name()} is read without an index, so there is nothing to prepare; out=FILE.npy or "
            "out=FILE.zip converts it"
        )
    with placed("data"):
        for source in sources:
            print(indexed(source, again=job.verify == "content"), flush=True)
        images = dataset.split("all")
        if file is not None:
            with bar(f"writing {display_path(file)}", len(images)) as advance:
                made = convert(dataset, images, file, advance)
            print(conclusion(file, made, job))


def wanted(job: Job) -> Node:
    """Return the node of the data; sizes of images are compared with data.shape only if the user gave one."""
    node = job.data_node()
    free = "data.shape" not in spoken_keys() and job.out is None and "enlarge" in node
    return node | {"enlarge": True} if free else node


def check(job: Job) -> None:
    """Refuse what is not for data alone. Raises ConfigError."""
    if job.run is not None:
        raise ConfigError("prepare works on data, not on a run: give data=")
    if in_sweep():
        raise ConfigError("-m is for runs: prepare one dataset after the other")
    if ranks.joined() and ranks.rank():
        raise ConfigError("prepare works in one process: start it without srun or torchrun")


def output(job: Job, dataset: Dataset) -> Path | None:
    """Return the file that out= names. Raises ConfigError."""
    if job.out is None:
        return None
    file = Path(job.out).expanduser().absolute()
    if file.suffix.lower() not in OUTPUTS:
        raise ConfigError(f"out={job.out}: give a file whose name ends in {' or '.join(OUTPUTS)}")
    if file.is_dir() or not file.parent.is_dir():
        raise ConfigError(f"out={job.out}: {'it is a folder' if file.is_dir() else 'its folder does not exist'}")
    if file.exists():
        raise ConfigError(f"out={job.out} exists: delete it, or give another name")
    if varies := dataset.varies():
        raise ConfigError(
            f"out=: data.{varies} draws another part of an image at every visit, and a file holds one: "
            "convert with data.crop=adm, or train on the images as they are"
        )
    if dataset.divided():
        raise ConfigError(
            f"out=: {dataset.name()} has its own test images, and one file holds one split: give data.root= of each "
            "part, and another out="
        )
    return file


def indexed(source: Source, again: bool) -> str:
    """Make an index; return a line on it."""
    made = prepare_source(source, again)
    changed = f", {made.changed:,} of which changed while size and time did not" if made.changed else ""
    now = f", {made.read:,} read now" if made.read else ""
    return (
        f"{display_path(Path(source.name))}: {made.images:,} images{now}{changed}; index of "
        f"{size(source.file.stat().st_size)} in {display_path(source.file)}"
    )


def conclusion(file: Path, made: Conversion, job: Job) -> str:
    """Return a line on the file, with the arguments that read it."""
    place, held_out = display_path(file), f" data.held_out={job.data['held_out']}" if "held_out" in job.data else ""
    shape = " x ".join(map(str, made.shape))
    words = f"data=zip data.root={place} data.shape={str(list(made.shape)).replace(' ', '')}"
    if file.suffix.lower() == ".npy":
        labels = f" data.labels={display_path(file.with_name(f'{file.stem}-labels.npy'))}"
        words = f"data=array data.root={place}" + (f" data.classes={made.classes}{labels}" if made.classes else "")
    return f"{place}: {made.count:,} images of {shape}, {size(file.stat().st_size)}; train on them by {words}{held_out}"
