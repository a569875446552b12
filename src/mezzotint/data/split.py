"""The held-out images of a dataset without a test set: a fixed, stratified split."""

import numpy as np

from mezzotint.errors import DataError
from mezzotint.randomness import permutation

SEED = 0  # of the split, not of a run; changing it invalidates all published numbers


def stratified(strata: np.ndarray, held_out: int) -> tuple[np.ndarray, np.ndarray]:
    """Return indices (train, test), each ascending, with the same fraction of every class in the test part.

    Each class is shuffled, and image k of n in it gets the key (k + 1/2) / n; the smallest keys are held out.

    Args:
        strata: class of each image, (N,); all equal without classes.
        held_out: number of held-out images.
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
    """Return the indices of "train", "test" or "all"; without held-out images all three are the dataset."""
    if split == "all" or not held_out:
        return np.arange(len(strata))
    train, test = stratified(strata, held_out)
    return train if split == "train" else test


def held_out_count(held_out: float, count: int) -> int:
    """Return the number of held-out images of `count`: the fraction rounded, at least one, never all."""
    return min(max(round(held_out * count), 1), count - 1) if held_out and count > 1 else 0


def check_held_out(held_out: float) -> None:
    if not 0 <= held_out < 1:
        raise DataError(f"held_out={held_out}: give the fraction of the data to hold out, from 0 to below 1.")
