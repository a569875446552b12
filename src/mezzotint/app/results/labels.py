"""Class labels of samples: the requested ones, or with the class frequencies of the reference."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from mezzotint.app.results.classes import Trained, read
from mezzotint.app.results.references import Reference
from mezzotint.data.image_files.class_folders import few
from mezzotint.errors import ConfigError
from mezzotint.generation.labels import BALANCED, IMBALANCE, IN_SHARES, imbalance, in_shares
from mezzotint.plain_data import is_integer

NONE = -1  # the label of samples without a class


def plan(asked: str, classes: int, reference: Reference, directory: Path) -> tuple[Tensor | None, str]:
    """Return the repeating label sequence of evaluated samples, or None for each class once, and its protocol entry.

    A distance holds the difference between the shares of classes too, so they are those of the reference; of one
    without labels, those of the images that were trained on. Where they are nearly equal, each class has its turn.

    Args:
        asked: "auto", "data" or "balanced", of `labels=`.
        classes: how many the run has.

    Raises:
        ConfigError: labels=data, and the class frequencies are unknown.
    """
    if not classes:
        return None, "none"
    if asked == "balanced":
        return None, BALANCED
    counts, whose = shares(classes, reference, directory)
    if counts is None:
        if asked == "data":
            raise ConfigError(
                "labels=data: the reference has no labels, and the run has no record of how many each class had"
            )
        return None, BALANCED
    if asked == "auto" and imbalance(counts) <= IMBALANCE:
        return None, BALANCED
    return in_shares(counts), IN_SHARES.format(whose)


def shares(classes: int, reference: Reference, directory: Path) -> tuple[Tensor | None, str]:
    """Return the number of images of each class, (classes,), and the source of these numbers."""
    labels = reference.labels()
    if labels is not None:
        return torch.bincount(labels, minlength=classes), "reference"
    trained = read(directory)
    return (torch.tensor(trained.counts), "training images") if trained and trained.counts else (None, "")


# ---------------------------------------------------------------------------------------------------- by name or number


@dataclass(frozen=True)
class LabelRequest:
    """The classes that `label=` names.

    Args:
        pairs: a label or a name, and how many images of it.
        counted: the numbers of images were given, {class: images, ...}.
        several: it is a list.
    """

    pairs: tuple[tuple[int | str, int], ...]
    counted: bool = False
    several: bool = False

    @classmethod
    def of(cls, label: Any) -> Self | None:
        """Return the request of a value of `label=`; None without one."""
        match label:
            case None:
                return None
            case dict():
                return cls(tuple(label.items()), counted=True)
            case list():
                return cls(tuple((key, 1) for key in label), several=True)
        return cls(((label, 1),))

    def __str__(self) -> str:
        """The value as on the command line."""
        if self.counted:
            return "{" + ",".join(f"{key}:{count}" for key, count in self.pairs) + "}"
        named = ",".join(str(key) for key, _ in self.pairs)
        return f"[{named}]" if self.several else named

    def refuse(self) -> None:
        """Raise ConfigError for a request without an image."""
        if self.counted and min((count for _, count in self.pairs), default=0) < 1:
            first = next(iter(self.pairs), (0, 0))[0]
            example = LabelRequest(((first, 4),), counted=True)
            raise ConfigError(f"label={self}: give each class 1 image or more, such as label={example}")
        if not self.pairs:
            raise ConfigError("label=[]: give a class, or several")


def requested_labels(asked: LabelRequest, classes: int, trained: Trained | None, names: Sequence[str]) -> Tensor:
    """Return the repeating label sequence for `label=`.

    Args:
        trained: the record of the training images.
        names: of the classes; none where these are only numbers.

    Raises:
        ConfigError: a class that the run does not have, or no images of it.
    """
    if not classes:
        raise ConfigError(f"label={asked}: this run has no classes")
    asked.refuse()
    pairs = [(number(key, classes, names), count) for key, count in asked.pairs]
    for each, _ in pairs:
        if trained and trained.counts and each != NONE and not trained.counts[each]:
            raise ConfigError(
                f"label={trained.called(each)}: no training image was of this class, so the network has not learnt it"
            )
    return torch.cat([torch.full((count,), each, dtype=torch.int64) for each, count in pairs])


def number(key: int | str, classes: int, names: Sequence[str]) -> int:
    """Return the label of a class given by label, name or unique prefix of its name."""
    if is_integer(key) or (key not in names and re.fullmatch(r"-?\d+", str(key))):
        if NONE <= int(key) < classes:
            return int(key)
        raise ConfigError(
            f"label={key}: this run has the labels 0 to {classes - 1}{listing(names)}, or -1 for no class"
        )
    key = str(key)
    if key in names:
        return list(names).index(key)
    plain = [name.lower() for name in names]
    if key.lower() in plain:
        return plain.index(key.lower())
    begun = [name for name in plain if name.startswith(key.lower())]
    if len(begun) == 1:
        return plain.index(begun[0])
    if not names:
        raise ConfigError(f"label={key}: the classes of this run have no names; give a label, 0 to {classes - 1}")
    if re.fullmatch(r".+:\d+", key):  # what a shell makes of braces without quotes
        raise ConfigError(f"label={key}: write counts in quotes, 'label={{{key}}}', or the shell takes them apart")
    words = {word: name for name in names for word in [*re.findall(r"\w+", name.lower()), name.lower()]}
    close = difflib.get_close_matches(key.lower(), words, 1, 0.6)
    hint = f"; did you mean {words[close[0]]!r}?" if close else ""
    raise ConfigError(f"label={key}: this run has no such class{hint}{listing(names)}")


def listing(names: Sequence[str]) -> str:
    return f" ({few(names, 12)})" if names else ""
