"""Class labels of samples: a cycle of labels.

Sample i has the label cycle[i % len(cycle)], so its label is a function of its number alone, as its noise is.
"""

import torch
from torch import Tensor

IMBALANCE = 0.01  # fraction of images that would have to change class; below it, balanced classes are as good

BALANCED = "i modulo the number of classes"
IN_SHARES = "in the shares of the classes of the {}"


def imbalance(counts: Tensor) -> float:
    """Return the fraction of images that would have to change class for all classes to be equally frequent.

    This is the total variation distance between class frequencies and equal ones; 0.006 for scikit-learn's digits.

    Args:
        counts: images of each class, (K,).
    """
    shares = counts.to(torch.float64) / counts.sum()
    return float((shares - 1 / len(counts)).clamp(min=0).sum())


def in_shares(counts: Tensor) -> Tensor:
    """Return one label for each counted image, (sum,) int64, ordered so that every prefix has these class frequencies.

    Image j of the c images of a class has the position (j + 1/2) / c, and labels are ordered by position. Among the
    first n labels, a class deviates from its expected count by at most half an image, and equal counts give
    0, 1, ..., K - 1, 0, 1, ...
    """
    labels = torch.repeat_interleave(torch.arange(len(counts)), counts)
    first = counts.cumsum(0) - counts
    rank = torch.arange(len(labels)) - first[labels]
    height = (rank + 0.5).to(torch.float64) / counts[labels]
    return labels[torch.argsort(height, stable=True)]
