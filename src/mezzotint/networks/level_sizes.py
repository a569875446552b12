"""Channels and sizes of the levels of a U-Net, and which of them attend."""

from collections.abc import Sequence


def level_widths(width: int, multipliers: Sequence[float]) -> list[int]:
    """Return the channels of each level.

    Raises:
        ValueError: a product of width and multiplier is not an integer.
    """
    widths = [width * multiplier for multiplier in multipliers]
    if any(product % 1 for product in widths):
        raise ValueError(f"width={width}, multipliers={list(multipliers)}: each product must be a number of channels.")
    return [int(product) for product in widths]


def level_sizes(size: Sequence[int], levels: int) -> list[int]:
    """Return the shortest side of each level's feature maps.

    Raises:
        ValueError: no levels, or a size that cannot be halved levels - 1 times; the message has the nearest valid ones.
    """
    if levels < 1:
        raise ValueError("multipliers=[] gives no level. Give one multiplier per level, for example [1, 2, 2, 2].")
    factor = 2 ** (levels - 1)
    if any(n % factor for n in size):
        below, above = [max(factor, n - n % factor) for n in size], [n + -n % factor for n in size]
        nearest = " or ".join(dict.fromkeys([" x ".join(map(str, below)), " x ".join(map(str, above))]))
        given = " x ".join(map(str, size))
        raise ValueError(
            f"{f'{given} images' if len(size) == 2 else f'data of size {given}'} do not fit {levels} levels "
            f"(multipliers), which halve them {levels - 1} times: every side must be divisible by {factor}. The "
            f"nearest sizes are {nearest}. Use fewer multipliers, or change the size of the data."
        )
    return [min(size) // 2**level for level in range(levels)]


def attending(attention: Sequence[int], sizes: list[int]) -> list[bool]:
    """Return for each level whether it has attention.

    Raises:
        ValueError: a size that no level has, whose attention would be silently left out.
    """
    missing = sorted(set(attention) - set(sizes))
    if missing:
        raise ValueError(
            f"attention={list(attention)}: no level has size {', '.join(map(str, missing))}. "
            f"The levels have {', '.join(map(str, sizes))}; name some of these, or none with attention=[]."
        )
    return [size in attention for size in sizes]
