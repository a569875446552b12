"""Mean and standard deviation of each channel, in one pass that also finds what is no number."""

import numpy as np

from mezzotint.data.arrays.stored import Rows, blocks
from mezzotint.errors import DataError

DIGITS = 7  # of a measured moment: more than that differs from machine to machine


def channel_moments(array: Rows, name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel of (N, C, *size), to seven digits.

    A channel without variation has the deviation 1. Parts are merged as by Chan et al. 1983, sec. 2.

    Args:
        name: of the file, for messages.

    Raises:
        DataError: an entry holds NaN or infinity.
    """
    channels = array.shape[1]
    count, mean, squares = 0, np.zeros(channels), np.zeros(channels)
    seen = 0
    for block in blocks(array):
        refuse_nonfinite(block, seen, name)
        values = block.reshape(len(block), channels, -1).astype(np.float64)
        own = values.mean(axis=(0, 2))
        values -= own[:, None]
        more, total = values.shape[0] * values.shape[2], count + values.shape[0] * values.shape[2]
        squares += np.square(values, out=values).sum(axis=(0, 2)) + (own - mean) ** 2 * (count * more / total)
        mean += (own - mean) * (more / total)
        count, seen = total, seen + len(block)
    std = np.sqrt(squares / max(1, count))
    std[std == 0] = 1.0
    return tuple(map(rounded, mean)), tuple(map(rounded, std))


def refuse_nonfinite(block: np.ndarray, first: int, name: str) -> None:
    """Raise DataError for NaN or infinity in entries first, first + 1, ... of a file."""
    if block.dtype.kind != "f" or np.isfinite(block.sum(dtype=np.float64)):
        return
    bad = np.argwhere(~np.isfinite(block))
    if len(bad):
        entry, channel = bad[0][:2]
        raise DataError(
            f"{name}: entry {first + entry}, channel {channel} holds {block[tuple(bad[0])]}, and data must be finite: "
            "replace such values, or leave the entry out."
        )


def rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
