"""How a folder of images is divided into parts and classes: by folders, or by the labels of a dataset.json."""

import json
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mezzotint.errors import DataError

TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("test", "testing", "val", "valid", "validation")  # the first that is there is held out, for all purposes
ADDITIONS = re.compile(r"^seg_|[-_ ]?(set|data|images|imgs|\d{4})$")  # train2017, training_set, val_images, seg_test
# Folders of systems and servers, with thumbnails or remains: never images of a set.
OF_SYSTEMS = ("@eadir", "__macosx", "lost+found", "$recycle.bin", "system volume information", "#recycle", "#snapshot")
LABELS = "dataset.json"  # as the tools of StyleGAN and EDM write it


@dataclass(frozen=True)
class Parts:
    """The folders of the two parts; without a test part some of the images are held out.

    Args:
        unused: other folders beside them.
    """

    train: Path
    test: Path | None = None
    unused: tuple[Path, ...] = ()


def parts_of(root: Path, classes: Sequence[str] = ()) -> Parts:
    """The parts of a folder, found by their names in upper or lower case, with what is often added to them.

    Args:
        classes: names that are known to be classes.

    Raises:
        DataError: two folders claim to be the training part, or one is to be held out and there is none to train on.
    """
    folders = subfolders(root)
    named = [(part_name(folder.name), folder) for folder in folders if folder.name not in classes]
    train = [folder for name, folder in named if name in TRAIN_NAMES]
    test = [folder for known in TEST_NAMES for name, folder in named if name == known]
    if len(train) > 1:
        raise DataError(
            f"{root} has the folders {train[0].name} and {train[1].name}: which is the training part? "
            "Rename the other one."
        )
    if not train:
        if test and len(test) == len(folders):
            raise DataError(
                f"{root} has the folder{'s' * (len(test) > 1)} {' and '.join(folder.name for folder in test)}, and no "
                f"training part: give data.root={test[0]}, or add a folder train; if they are classes, list them in "
                "data.names=[...]."
            )
        return Parts(root)
    unused = tuple(folder for folder in folders if folder not in (train[0], *test[:1]))
    return Parts(train[0], test[0] if test else None, unused)


def part_name(folder: str) -> str:
    """A folder's name as the lists of parts have it: train2017 and Training_Set are train and training."""
    name = folder.lower()
    bare = ADDITIONS.sub("", name)
    return bare if bare in TRAIN_NAMES + TEST_NAMES else name


def subfolders(root: Path) -> list[Path]:
    """The folders directly below a folder, without hidden ones and those that systems make."""
    try:
        with os.scandir(root) as inside:
            found = [root / item.name for item in inside if not item.name.startswith(".") and is_folder(item)]
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read ({error.strerror}): mend it or take it out.") from error
    return sorted(folder for folder in found if folder.name.lower() not in OF_SYSTEMS)


def is_folder(item: os.DirEntry[str]) -> bool:
    """Whether it is a folder or a link to one; a link in a circle is none."""
    return Path(item.path).is_dir() if item.is_symlink() else item.is_dir()


def composed(name: str) -> str:
    """A name in the one form of its letters that is compared: macOS takes accents apart, other systems do not."""
    return unicodedata.normalize("NFC", name)


def natural(name: str) -> tuple[list[str | int], str]:
    """Sorts names by their letters and the numbers in them by value: 2 before 10, class2 before class10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)], name


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """The names of classes in the order of their labels."""
    return tuple(sorted(set(names), key=natural))


# -------------------------------------------------------------------------------------------------------- dataset.json


def read_labels(root: Path) -> dict[str, int] | None:
    """The label of each file by its path below the folder, of a dataset.json; None without one or without labels.

    Raises:
        DataError: it is damaged, or its labels are not one whole number an image.
    """
    file = root / LABELS
    if not file.is_file():
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file} cannot be read ({error}): write it again, or take it out.") from error
    labels = found.get("labels") if isinstance(found, dict) else None
    if labels is None:
        return None
    pairs = list(labels.items()) if isinstance(labels, dict) else labels
    wrong = next((pair for pair in pairs if not is_pair(pair)), None) if isinstance(pairs, list) else labels
    if wrong is not None:
        raise DataError(f'{file} holds {str(wrong)[:60]}, where ["folder/file.png", 3], a path and a class, is meant.')
    labels = dict(tuple(pair) for pair in pairs)
    if torn := next((path for path, label in pairs if labels[path] != label), None):
        raise DataError(f"{file} gives {torn} more than one class: leave one.")
    return {composed(path): label for path, label in labels.items()}


def is_pair(pair: Any) -> bool:
    whole = isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], str)
    return whole and isinstance(pair[1], int) and not isinstance(pair[1], bool)


# ----------------------------------------------------------------------------------------------- labels that are wrong


def refuse_labels(where: str, labels: Sequence[int], classes: int) -> None:
    """Refuse labels that are not among 0 to classes - 1, and say what they are.

    Args:
        where: what the labels are of, for the message.
        labels: those that occur, each once, ascending.

    Raises:
        DataError: with the cure, which is never one class more for a number that is left out.
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
            f"gaps and set data.classes={kinds}, or 0 to leave the labels out."
        )
    raise DataError(f"data.classes={classes}, but {seen}: set data.classes={kinds}, or 0 to leave the labels out.")


def gaps(labels: Sequence[int]) -> str:
    """Which numbers are left out."""
    missing = absent(labels, labels[-1] + 1)
    return f" (not {few(missing)})" if missing else ""


def absent(labels: Iterable[int], classes: int) -> list[int]:
    """The labels below `classes` that do not occur, at most so many as a message shows."""
    there, found = set(labels), []
    for label in range(classes):
        if label not in there:
            found.append(label)
        if len(found) > 5:
            break
    return found


def few(items: Sequence[object], most: int = 5) -> str:
    return ", ".join(map(str, items[:most])) + (", ..." if len(items) > most else "")
