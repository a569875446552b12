"""Which images of a set that comes in one piece are held out: always the same ones."""

import numpy as np

from mezzotint.diffusion.draws import permutation

SEED = 0  # of the split, never of a run: changing it changes what every number was measured on


def stratified(labels: np.ndarray, held_out: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices (train, test), each ascending; the test part takes its share of every class.

    Each class is shuffled, and the image with rank k of n gets the height (k + 1/2) / n; the lowest ones are held out.

    Args:
        labels: (N,); all zero where there are no classes.
        held_out: how many images the test part has.
    """
    shuffled = permutation(SEED, "split", len(labels)).numpy()
    height = np.empty(len(labels))
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        height[members] = (np.arange(len(members)) + 0.5) / len(members)
    order = shuffled[np.argsort(height[shuffled], kind="stable")]
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def part(split: str, labels: np.ndarray, held_out: int) -> np.ndarray:
    """Indices of "train", "test" or "all"."""
    if split == "all":
        return np.arange(len(labels))
    train, test = stratified(labels, held_out)
    return train if split == "train" else test
