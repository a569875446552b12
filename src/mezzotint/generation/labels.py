"""Of which class each sample is drawn: a round of labels that begins anew where it ends.

Sample i has the label round[i % len(round)], so a label is a function of the sample's number alone, as its noise is.
"""

import torch
from torch import Tensor

IMBALANCE = 0.01  # of the images that would have to change their class; below it each class once a round is as good

BALANCED = "i modulo the number of classes"
IN_SHARES = "in the shares of the classes of the {}"


def imbalance(counts: Tensor) -> float:
    """The share of the images that would have to change their class for all classes to have equally many.

    That is the total variation distance between their shares and equal ones; 0.006 for the digits of scikit-learn.

    Args:
        counts: images of each class, (K,).
    """
    shares = counts.to(torch.float64) / counts.sum()
    return float((shares - 1 / len(counts)).clamp(min=0).sum())


def in_shares(counts: Tensor) -> Tensor:
    """One label for each counted image, (sum,) int64, so mixed that the first n have these shares, whatever n is.

    Image j of the c images of a class stands at the height (j + 1/2) / c, and the labels are those of the images from
    the lowest to the highest. So a class has among the first n at most half an image more or less than its share of
    their height, and equal counts give 0, 1, ..., K - 1, 0, 1, ...
    """
    labels = torch.repeat_interleave(torch.arange(len(counts)), counts)
    first = counts.cumsum(0) - counts
    rank = torch.arange(len(labels)) - first[labels]
    height = (rank + 0.5).to(torch.float64) / counts[labels]
    return labels[torch.argsort(height, stable=True)]
