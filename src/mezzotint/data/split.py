"""Which images of a set that comes in one piece are held out: always the same ones."""

import numpy as np

from mezzotint.errors import DataError
from mezzotint.randomness import permutation

SEED = 0  # of the split, never of a run: changing it changes what every number was measured on


def stratified(strata: np.ndarray, held_out: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices (train, test), each ascending; the test part takes its share of every class.

    Each class is shuffled, and its image with rank k of n gets the height (k + 1/2) / n; the lowest ones are held out.

    Args:
        strata: (N,) the class of each image; all equal where there are none.
        held_out: how many images the test part has.
    """
    shuffled = permutation(SEED, "split", len(strata)).numpy()
    by_class = shuffled[np.argsort(strata[shuffled], kind="stable")]
    _, first, count = np.unique(strata[by_class], return_index=True, return_counts=True)
    rank = np.arange(len(strata)) - np.repeat(first, count)
    height = np.empty(len(strata))
    height[by_class] = (rank + 0.5) / np.repeat(count, count)
    order = shuffled[np.argsort(height[shuffled], kind="stable")]
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def split_indices(split: str, strata: np.ndarray, held_out: int) -> np.ndarray:
    """Indices of "train", "test" or "all"; where nothing is held out, each is the whole."""
    if split == "all" or not held_out:
        return np.arange(len(strata))
    train, test = stratified(strata, held_out)
    return train if split == "train" else test


def held_out_count(held_out: float, count: int) -> int:
    """How many of `count` images are held out: the nearest number to the fraction, at least one, never all."""
    return min(max(round(held_out * count), 1), count - 1) if held_out and count > 1 else 0


def check_held_out(held_out: float) -> None:
    if not 0 <= held_out < 1:
        raise DataError(f"held_out={held_out}: give the fraction of images to hold out, from 0 to below 1.")
