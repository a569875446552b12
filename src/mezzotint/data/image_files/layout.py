"""Checks and remarks on the layout of an image folder: splits, classes and labels that are probably not meant so."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from mezzotint.data.image_files.class_folders import (
    LABELS,
    TEST_NAMES,
    TRAIN_NAMES,
    Parts,
    composed,
    few,
    part_name,
    subfolders,
)
from mezzotint.data.image_files.formats import SUFFIXES
from mezzotint.data.image_files.image_set import copies, note_once, state
from mezzotint.data.image_files.listing import describe_unused, holds_pictures, pictures, walk
from mezzotint.data.image_files.stored import StoredImage
from mezzotint.errors import DataError

SKIP = "data.skip=true skips unreadable files"


def numbered(
    root: Path, train: Path, names: Sequence[str], classes: int, filled: Collection[str] = ()
) -> dict[str, int]:
    """Return the label of each class folder by its name in NFC.

    Args:
        root: the folder of the data, for messages.
        train: that of the training split.
        names: the class folders in the order of their labels.
        classes: the number that the user gave.
        filled: folders that are known to hold images.

    Raises:
        DataError: there are no class folders, an empty one, or another number of them.
    """
    if not names:
        raise DataError(f"{root} has no class folders, but data.classes={classes}: set data.classes=0.")
    there = {composed(folder.name): folder for folder in subfolders(train)}
    for name in names:
        if composed(name) not in filled:
            refuse_empty(there.get(composed(name), train / name))
    report_similar_names(names)
    if len(names) == classes:
        return {composed(name): i for i, name in enumerate(names)}
    if len(names) == 1 and len(inner := subfolders(train / names[0])) > 1:
        raise DataError(
            f"{train} holds one folder, {names[0]}, with {few([folder.name for folder in inner])} in it: if these are "
            f"the classes, set data.root={train / names[0]}; data.classes=0 ignores the labels."
        )
    raise DataError(
        f"{root} has {len(names)} class folders ({few(names)}), but data.classes={classes}: "
        f"set data.classes={len(names)}, or 0 to ignore the labels."
    )


def outside_classes(file: Path) -> DataError:
    """Return the error of an image in no class folder."""
    return DataError(f"{file} is in no class folder of the training split: move it, or set data.classes=0.")


def unlabelled(root: Path, name: str) -> DataError:
    """Return the error of an image that a dataset.json does not name."""
    return DataError(
        f"{root / LABELS} holds the labels, but none of {name}: add it there, remove the image, or set data.classes=0."
    )


def left_out(bad: Sequence[tuple[StoredImage, str]], total: int) -> None:
    """Report images that are left out, with reasons."""
    if bad:
        note_once(f"data: {describe_unused(sorted(bad, key=by_place), total, 'is left out')}")


def by_place(item: tuple[StoredImage, str]) -> tuple[Path, str]:
    return Path(str(item[0])), item[1]


def report_copies(train: Sequence[Path], test: Sequence[Path]) -> None:
    """Report test images that are also training images under another name."""
    same = copies(tuple(map(state, train)), tuple(map(state, test))) if train != test else []
    if same:
        note_copies(len(same), len(test), *same[0])


def note_copies(count: int, total: int, test: StoredImage, train: StoredImage) -> None:
    """Print how many of the held-out images are identical to training images, with one pair."""
    note_once(
        f"data: {count:,} of {total:,} held-out pictures are also training pictures, such as {test}, "
        f"identical to {train}. Remove one of each pair, or memorisation will look like quality."
    )


def report_unused(root: Path, parts: Parts) -> None:
    """Report images that belong to neither split, and subfolders with splits of their own."""
    if parts.train == root:
        inner = next((folder for folder in subfolders(root) if divided(folder)), None)
        if inner is not None:
            note_once(
                f"data: {inner} is divided into splits itself, which are ignored here: data.root={inner} uses them."
            )
        return
    held = [(f"{count:,} in {folder}", count) for folder in parts.unused if (count := pictures(folder))]
    if loose := sum(1 for item in os.scandir(root) if item.is_file() and Path(item.name).suffix.lower() in SUFFIXES):
        held.append((f"{loose:,} directly in {root}", loose))
    if held:
        used = f"{parts.train.name} is trained on" + (f" and {parts.test.name} held out" if parts.test else "")
        note_once(
            f"data: {few([where for where, _ in held])} are not used ({used}); only pictures in these folders count."
        )


def report_missing(root: Path, labels: dict[str, int]) -> None:
    """Report labels without an image."""
    there = {composed(item.path.relative_to(root).as_posix()) for item in walk(root)}
    if gone := sorted(labels.keys() - there):
        note_once(f"data: {root / LABELS} has labels of {len(gone):,} picture(s) that do not exist, such as {gone[0]}.")


def report_similar_names(names: Sequence[str]) -> None:
    """Report classes whose names differ only in case."""
    known: dict[str, str] = {}
    for name in names:
        other = known.setdefault(name.casefold(), name)
        if other != name:
            note_once(
                f"data: {other} and {name} are two classes; to make them one, move their pictures into one folder."
            )


def divided(folder: Path) -> bool:
    """Return whether a folder has a training and a test folder."""
    names = {part_name(inside.name) for inside in subfolders(folder)}
    return bool(names & {*TRAIN_NAMES} and names & {*TEST_NAMES})


def check_alone(root: Path, train: Path) -> None:
    """Raise DataError for a folder `train` next to image folders without a test split: it may be a class."""
    for folder in (folder for folder in subfolders(root) if folder != train):
        if holds_pictures(folder):
            raise DataError(
                f"{root} has a folder {train.name} beside {folder.name}, and none named test, val or "
                f"validation. If {train.name} is the training split, set data.root={train}; if it is a class, rename "
                "it or list all classes in data.names=[...]."
            )


def refuse_empty(folder: Path) -> None:
    """Raise DataError for a class without a supported image."""
    if not folder.is_dir():
        there = few([other.name for other in subfolders(folder.parent)])
        raise DataError(f"{folder.parent} has no class folder {folder.name}; it has {there}. Restore its name.")
    if holds_pictures(folder):
        return
    others = sorted(file for file in folder.rglob("*") if file.is_file())
    held = (
        f"{len(others)} file(s) such as {others[0].name}, none of which is a supported image" if others else "nothing"
    )
    raise DataError(f"the class folder {folder} holds {held}: convert or add images, or remove the folder.")
