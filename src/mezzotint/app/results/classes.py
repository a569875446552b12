"""data.json of a run: the class of each label and the training images, compared when the data is opened again.

A label is an index into the data's classes: after a folder is renamed, added or removed, the same labels mean other
classes, and nothing in the network shows it.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from mezzotint.app.config.job import Job
from mezzotint.app.terminal import display_path
from mezzotint.data.conditions import condition_values
from mezzotint.data.dataset import Dataset
from mezzotint.data.image_files.class_folders import few
from mezzotint.data.image_files.on_access import identity
from mezzotint.data.image_set import ImageSource, labels_of
from mezzotint.data.sources.folder import ImageFolder
from mezzotint.errors import ConfigError, DataError
from mezzotint.instantiate.build import build
from mezzotint.runs import RunDir

LISTED = 12  # classes that a line of the plan counts one by one


@dataclass(frozen=True)
class Trained:
    """The training part of a run's data.

    Args:
        classes: their names in the order of their labels; none where they are numbers alone, or left out.
        counts: how many images each class has; none without labels.
        images: how many there are.
        content: a hash of images and labels; of images that are decoded while they are used, of their names and sizes.
        conditions: a hash of the stored values of conditions; empty where there are none.
    """

    classes: tuple[str, ...]
    counts: tuple[int, ...]
    images: int
    content: str
    conditions: str = ""

    @classmethod
    def of(cls, dataset: Dataset, train: ImageSource) -> "Trained":
        labels = labels_of(train) if dataset.classes else None
        counts = () if labels is None else tuple(torch.bincount(labels, minlength=dataset.classes).tolist())
        conditions = condition_values(dataset, "train").digest()
        return cls(names_of(dataset), counts, len(train), identity(train), conditions)

    def called(self, label: int) -> str:
        """The name of a class, or its number."""
        return self.classes[label] if label < len(self.classes) else str(label)


def names_of(dataset: Dataset) -> tuple[str, ...]:
    """Return the names of a dataset's classes; empty if it has none."""
    return tuple(dataset.class_names())


def names(directory: Path, job: Job) -> tuple[str, ...]:
    """Return the class names of a run, from its record or its data; empty if they are unknown."""
    trained = read(directory)
    if trained is not None:
        return trained.classes
    try:
        return names_of(opened(directory, job)[0])
    except DataError:
        return ()


# --------------------------------------------------------------------------------------------------------- the record


def read(directory: Path) -> Trained | None:
    """Return the record of a run; None for runs from before this record existed.

    Raises:
        Damaged: it is not what a run writes.
    """
    found = RunDir(directory).data()
    if found is None:
        return None
    return Trained(
        tuple(found["classes"]), tuple(found["counts"]), found["images"], found["content"], found.get("conditions", "")
    )


def write(directory: Path, trained: Trained) -> None:
    """Write the record once: resumed runs are compared with the first one."""
    entries = asdict(trained)
    RunDir(directory).write_data({key: value for key, value in entries.items() if key != "conditions" or value})


# ---------------------------------------------------------------------------------------------------- the data compared


def opened(directory: Path, job: Job) -> tuple[Dataset, str]:
    """The dataset of a config with the classes in the order that the run was trained in, and what is wrong with them.

    Folders called by numbers were once sorted as words; a run that was trained so keeps that order.
    """
    dataset: Dataset = build(job.data_node(), "data")
    if not dataset.classes or job.data.get("names"):
        return dataset, ""
    before = read(directory)
    names = before.classes if before else ()
    if before is None and not (isinstance(dataset, ImageFolder) and RunDir(directory).newest_step()):
        return dataset, ""
    try:
        now = names_of(dataset)
    except DataError:  # the data is elsewhere; whoever needs it will say so
        return dataset, ""
    names = names if before else tuple(sorted(now))
    if names and len(now) == dataset.classes and set(names) == set(now):
        return (dataset if names == now else replace(dataset, names=names)), ""
    return dataset, changed(directory, names, now) if before and names and now else ""


def settled(directory: Path, job: Job) -> Job:
    """The job of a run that is trained on, with its classes in the order that it began with.

    Raises:
        ConfigError: they are others now.
    """
    dataset, wrong = opened(directory, job)
    if wrong:
        raise ConfigError(
            f"{wrong}. Give the folders their old names, or data.root= of the data as it was; or train a new run, "
            "without run= and with another name="
        )
    names = list(dataset.names)
    return replace(job, data=job.data | {"names": names}) if names else job


def changed(directory: Path, then: tuple[str, ...], now: tuple[str, ...]) -> str:
    """Describe how the classes of labels differ between a run and its data."""
    changes = [
        f"label {label} was {then[label] if label < len(then) else 'no class'}, now "
        f"{now[label] if label < len(now) else 'no class'}"
        for label in range(max(len(then), len(now)))
        if then[label : label + 1] != now[label : label + 1]
    ]
    return f"the classes are not those that {display_path(directory)} was trained on: {'; '.join(changes[:4])}" + (
        f"; and {len(changes) - 4} more" if len(changes) > 4 else ""
    )


def compare(directory: Path, trained: Trained) -> str:
    """Return a remark on training images that changed since the run began; empty if they did not.

    Raises:
        ConfigError: classes without names have changed places.
    """
    before = read(directory)
    if before is None:
        return ""
    if before.conditions and before.conditions != trained.conditions:
        return (
            "the conditions of the training examples changed since this run began; it goes on with those that are there"
        )
    if before.content == trained.content:
        return ""
    if before.counts != trained.counts and sorted(before.counts) == sorted(trained.counts):
        label = next(i for i, pair in enumerate(zip(before.counts, trained.counts, strict=True)) if pair[0] != pair[1])
        raise ConfigError(
            f"the labels are not those that {display_path(directory)} was trained on: label {label} had "
            f"{before.counts[label]} images, now {trained.counts[label]}, and others changed as well. Give the "
            "data its old labels, or train a new run"
        )
    if before.content.partition(":")[0] != trained.content.partition(":")[0] and before.images == trained.images:
        return ""  # kept in memory then and not now: the hashes are of different things
    return (
        f"the training images changed since this run began: {before.images:,} then, {trained.images:,} now; it goes on "
        "with those that are there"
    )


def empty(trained: Trained) -> list[str]:
    """Return a problem for each class without images, which would be sampled but never learnt."""
    missing = [label for label, count in enumerate(trained.counts) if not count]
    if not missing:
        return []
    kinds = len(trained.counts) - len(missing)
    named = few([trained.called(label) for label in missing])
    return [
        f"data: no training image is of the class {named} (data.classes={len(trained.counts)}), which cannot be learnt "
        f"so. Number the classes 0 to {kinds - 1} without gaps and set data.classes={kinds}, or add images of it"
    ]


def describe_classes(trained: Trained) -> str:
    """Describe the classes: the images of each, and its label where the name is another number."""
    shown = [
        f"{'' if name == str(label) or not name.isdecimal() else f'label {label} is '}{name} ({count:,})"
        for label, count in enumerate(trained.counts[:LISTED])
        for name in [trained.called(label)]
    ]
    more = f", and {len(trained.counts) - LISTED} more" if len(trained.counts) > LISTED else ""
    return f"{len(trained.counts)}: {', '.join(shown)}{more}"
