"""Class labels of samples: the requested ones, or with the class frequencies of the reference."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mezzotint.app.results.classes import Trained, read
from mezzotint.app.results.references import Chosen
from mezzotint.data.image_files.class_folders import few
from mezzotint.data.image_set import labels_of
from mezzotint.errors import ConfigError
from mezzotint.generation.labels import BALANCED, IMBALANCE, IN_SHARES, imbalance, in_shares

NONE = -1  # the label of samples without a class


def plan(asked: str, classes: int, reference: Any, directory: Path) -> tuple[Tensor | None, str]:
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


def shares(classes: int, reference: Any, directory: Path) -> tuple[Tensor | None, str]:
    """Return the number of images of each class, (classes,), and the source of these numbers."""
    from mezzotint.metrics import StatisticsFile

    reference = reference.images if isinstance(reference, Chosen) else reference  # some of it are there for the whole
    labels = None if isinstance(reference, StatisticsFile) else labels_of(reference)
    if labels is not None:
        return torch.bincount(labels, minlength=classes), "reference"
    trained = read(directory)
    return (torch.tensor(trained.counts), "training images") if trained and trained.counts else (None, "")


# ---------------------------------------------------------------------------------------------------- by name or number


def requested_labels(label: Any, classes: int, trained: Trained | None, names: Sequence[str]) -> Tensor:
    """Return the repeating label sequence for `label=`.

    Args:
        label: a label or a name, a list of them, or a dict of images for each.
        trained: what is known of the training images.
        names: of the classes; none where these are only numbers.

    Raises:
        ConfigError: a class that the run does not have, or no images of it.
    """
    if not classes:
        raise ConfigError(f"label={spelt(label)}: this run has no classes")
    if isinstance(label, dict):
        if not label or min(label.values()) < 1:
            example = spelt({next(iter(label), 0): 4})
            raise ConfigError(f"label={spelt(label)}: give each class 1 image or more, such as label={example}")
        pairs = [(number(key, classes, names), count) for key, count in label.items()]
    else:
        pairs = [(number(key, classes, names), 1) for key in (label if isinstance(label, list) else [label])]
    if not pairs:
        raise ConfigError("label=[]: give a class, or several")
    for each, _ in pairs:
        if trained and trained.counts and each != NONE and not trained.counts[each]:
            raise ConfigError(
                f"label={trained.called(each)}: no training image was of this class, so the network has not learnt it"
            )
    return torch.cat([torch.full((count,), each, dtype=torch.int64) for each, count in pairs])


def number(key: int | str, classes: int, names: Sequence[str]) -> int:
    """Return the label of a class given by label, name or unique prefix of its name."""
    if isinstance(key, int) or (key not in names and re.fullmatch(r"-?\d+", key)):
        if NONE <= int(key) < classes:
            return int(key)
        raise ConfigError(
            f"label={key}: this run has the labels 0 to {classes - 1}{listing(names)}, or -1 for no class"
        )
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


def spelt(label: Any) -> str:
    """Format a value as on the command line."""
    if isinstance(label, dict):
        return "{" + ",".join(f"{key}:{count}" for key, count in label.items()) + "}"
    return f"[{','.join(map(str, label))}]" if isinstance(label, list) else str(label)
