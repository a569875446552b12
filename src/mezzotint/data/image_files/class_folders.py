"""Splits and classes of an image folder: by subfolders, or by the labels in a dataset.json."""

import json
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mezzotint.errors import DataError
from mezzotint.plain_data import is_integer, lookup

TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("test", "testing", "val", "valid", "validation")  # the first one present is the test split
ADDITIONS = re.compile(r"^seg_|[-_ ]?(set|data|images|imgs|\d{4})$")  # train2017, training_set, val_images, seg_test
# Folders of operating systems and servers, which never contain images of a dataset.
OF_SYSTEMS = ("@eadir", "__macosx", "lost+found", "$recycle.bin", "system volume information", "#recycle", "#snapshot")
LABELS = "dataset.json"  # as written by the tools of StyleGAN and EDM


@dataclass(frozen=True)
class Parts:
    """The folders of the two splits; without a test folder some of the images are held out.

    Args:
        train: the training folder.
        test: the test folder.
        unused: other folders next to them.
    """

    train: Path
    test: Path | None = None
    unused: tuple[Path, ...] = ()


def parts_of(root: Path, classes: Sequence[str] = ()) -> Parts:
    """Return the splits of a folder by the names of its subfolders, ignoring case and common affixes.

    Args:
        root: the folder.
        classes: names that are known to be classes.

    Raises:
        DataError: two training folders, or a test folder without a training folder.
    """
    folders = {folder.name: folder for folder in subfolders(root)}
    train, test = split_folders(str(root), tuple(folders), classes, f"give data.root={root}/{{}}, or ")
    if train is None:
        return Parts(root)
    unused = tuple(folder for name, folder in folders.items() if name not in (train, test))
    return Parts(folders[train], None if test is None else folders[test], unused)


def split_folders(
    where: str, folders: Sequence[str], classes: Sequence[str] = (), cure: str = ""
) -> tuple[str | None, str | None]:
    """Return the names of the training folder and the test folder among some folders; None for one that is missing.

    Args:
        where: the place of the folders, for messages.
        folders: their names.
        classes: names that are known to be classes.
        cure: another remedy if there is a test folder only, with {} for its name.

    Raises:
        DataError: as `parts_of`.
    """
    named = [(part_name(folder), folder) for folder in folders if folder not in classes]
    train = [folder for name, folder in named if name in TRAIN_NAMES]
    test = [folder for known in TEST_NAMES for name, folder in named if name == known]
    if len(train) > 1:
        raise DataError(
            f"{where} has the folders {train[0]} and {train[1]}: which is the training part? Rename the other one."
        )
    if not train:
        if test and len(test) == len(folders):
            other = cure.replace("{}", test[0])
            raise DataError(
                f"{where} has the folder{'s' * (len(test) > 1)} {' and '.join(test)}, and no training part: "
                f"{other}add a folder train; if they are classes, list them in data.names=[...]."
            )
        return None, None
    return train[0], test[0] if test else None


def part_name(folder: str) -> str:
    """Normalise the name of a split: train2017 and Training_Set are train and training."""
    name = folder.lower()
    bare = ADDITIONS.sub("", name)
    return bare if bare in TRAIN_NAMES + TEST_NAMES else name


def subfolders(root: Path) -> list[Path]:
    """Return the direct subfolders, without hidden ones and those of operating systems."""
    try:
        with os.scandir(root) as inside:
            found = [root / item.name for item in inside if not item.name.startswith(".") and is_folder(item)]
    except OSError as error:
        raise DataError(
            f"{error.filename} cannot be read ({error.strerror}): fix its permissions, or remove it."
        ) from error
    return sorted(folder for folder in found if folder.name.lower() not in OF_SYSTEMS)


def is_folder(item: os.DirEntry[str]) -> bool:
    """Return whether it is a folder or a link to one; a cyclic link is not."""
    return Path(item.path).is_dir() if item.is_symlink() else item.is_dir()


def composed(name: str) -> str:
    """Return the NFC form of a name, for comparison: macOS decomposes accents, other systems do not."""
    return unicodedata.normalize("NFC", name)


def natural(name: str) -> tuple[list[str | int], str]:
    """Sort key for names with numbers: 2 before 10, class2 before class10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)], name


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of classes in the order of their labels."""
    return tuple(sorted(set(names), key=natural))


# -------------------------------------------------------------------------------------------------------- dataset.json


def read_labels(root: Path) -> dict[str, int] | None:
    """Return the labels in a dataset.json by path below the folder; None without a file or labels.

    Raises:
        DataError: the file is damaged, or its labels are not one integer per image.
    """
    file = root / LABELS
    if not file.is_file():
        return None
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error}): write it again, or remove it.") from error
    return parsed_labels(content, str(file))


def parsed_labels(content: bytes, file: str) -> dict[str, int] | None:
    """Return the labels in the bytes of a dataset.json; `file` is its name for messages. As `read_labels`."""
    try:
        found = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} cannot be read ({error}): write it again, or remove it.") from error
    labels = lookup(found, "labels")
    if labels is None:
        return None
    match labels:
        case dict():
            pairs = list(labels.items())
        case list():
            pairs = labels
        case _:
            pairs = [labels]
    wrong = next((pair for pair in pairs if not is_pair(pair)), None)
    if wrong is not None:
        raise DataError(
            f'{file} holds {str(wrong)[:60]} instead of a path and a class, such as ["folder/file.png", 3]; correct it.'
        )
    labels = dict(tuple(pair) for pair in pairs)
    if torn := next((path for path, label in pairs if labels[path] != label), None):
        raise DataError(f"{file} gives {torn} more than one class: keep one.")
    return {composed(path): label for path, label in labels.items()}


def is_pair(pair: Any) -> bool:
    """Return whether a value is a path and an integer class."""
    match pair:
        case [str(), label]:
            return is_integer(label)
    return False


# ----------------------------------------------------------------------------------------------- labels that are wrong


def refuse_labels(where: str, labels: Sequence[int], classes: int) -> None:
    """Raise DataError for labels outside 0 .. classes - 1.

    Args:
        where: the source of the labels, for the message.
        labels: the distinct labels, ascending.
        classes: number of classes.

    Raises:
        DataError: with a remedy that never counts an unused label as a class.
    """
    low, high, kinds = labels[0], labels[-1], len(labels)
    if low >= 0 and high < classes:
        return
    seen = f"the labels of {where} run from {low} to {high}"
    if low and kinds == high - low + 1:
        shift = f"take {low} from each" if low > 0 else f"add {-low} to each"
        raise DataError(f"{seen}: number the classes from 0, that is, {shift}, and set data.classes={kinds}.")
    if low < 0 or kinds != high + 1:
        raise DataError(
            f"{seen}, and {kinds} of these numbers occur{gaps(labels)}: number the classes 0 to {kinds - 1} without "
            f"gaps and set data.classes={kinds}, or 0 to ignore the labels."
        )
    raise DataError(f"data.classes={classes}, but {seen}: set data.classes={kinds}, or 0 to ignore the labels.")


def gaps(labels: Sequence[int]) -> str:
    """Describe the unused labels."""
    missing = absent(labels, labels[-1] + 1)
    return f" (not {few(missing)})" if missing else ""


def absent(labels: Iterable[int], classes: int) -> list[int]:
    """Return the unused labels below `classes`, at most as many as a message shows."""
    there, found = set(labels), []
    for label in range(classes):
        if label not in there:
            found.append(label)
        if len(found) > 5:
            break
    return found


def few(items: Sequence[object], most: int = 5) -> str:
    return ", ".join(map(str, items[:most])) + (", ..." if len(items) > most else "")
