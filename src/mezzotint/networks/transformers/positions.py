"""Positions of tokens on a grid: fixed sines and cosines that are added, and rotations of queries and keys."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def coordinates(grid: Sequence[int]) -> Tensor:
    """Return the integer coordinates of each token, (N, d) float64, the last dimension changing fastest."""
    axes = [torch.arange(count, dtype=torch.float64) for count in grid]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)


def geometric(count: int) -> Tensor:
    """Return the frequencies 10000^(-i / count), i = 0 .. count - 1, in float64."""
    return 10000.0 ** (-torch.arange(count, dtype=torch.float64) / count)


def sinusoidal_positions(grid: Sequence[int], width: int) -> Tensor:
    """Return the fixed position embedding: (N, width) float32.

    The channels are divided among the dimensions, the last one (the column of an image) first; each has
    [sin(p w_i) | cos(p w_i)] with w_i = 10000^(-i / n), i = 0 .. n - 1.

    Source: He et al. 2022 (their code), as in Peebles and Xie 2023, https://arxiv.org/abs/2212.09748

    Raises:
        ValueError: the width is below twice the number of dimensions.
    """
    places = coordinates(grid)
    waves = []
    for axis, count in zip(reversed(range(len(grid))), shares(width // 2, len(grid)), strict=True):
        angles = places[:, axis, None] * geometric(count)
        waves += [angles.sin(), angles.cos()]
    return torch.cat(waves, dim=1).float()


def rotary_angles(grid: Sequence[int], head_width: int) -> Tensor:
    """Return the angle by which each pair of channels is turned at each position: (N, head_width / 2) float64.

    The pairs are divided among the dimensions, the first one (the row of an image) first; each has p w_i with
    w_i = 10000^(-i / n), i = 0 .. n - 1.

    Source: Su et al. 2021, section 3.2.2, https://arxiv.org/abs/2104.09864; in two dimensions Fang et al. 2023 (EVA-02)
    """
    places = coordinates(grid)
    counts = shares(head_width // 2, len(grid))
    return torch.cat([places[:, axis, None] * geometric(count) for axis, count in enumerate(counts)], dim=1)


def rotary_table(grid: Sequence[int], head_width: int) -> Tensor:
    """Return cosines and sines of `rotary_angles`: (2, N, head_width / 2) float32."""
    angles = rotary_angles(grid, head_width)
    return torch.stack([angles.cos(), angles.sin()]).float()


def with_unturned(table: Tensor, leading: int) -> Tensor:
    """Return the table (2, leading + N, d / 2) of N tokens behind others without a position, which are not turned."""
    cosine, sine = table.unbind(0)
    rows = (0, 0, leading, 0)
    return torch.stack([functional.pad(cosine, rows, value=1.0), functional.pad(sine, rows)])


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Turn the pairs of channels (2 i, 2 i + 1) of each token by their angles.

    Args:
        x: (B, heads, N, d).
        table: (2, N, d / 2), cosines and sines.

    Returns:
        (B, heads, N, d), of the higher of both precisions.
    """
    if torch.compiler.is_compiling():  # real numbers become one loop there; in eager mode they take ten times as long
        even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
        cosine, sine = table.unbind(0)
        return torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], dim=-1).flatten(-2)
    found = torch.promote_types(x.dtype, table.dtype)
    wide = torch.promote_types(found, torch.float32)  # complex numbers have no half precision
    turn = torch.view_as_complex(table.to(wide).movedim(0, -1).contiguous())
    pairs = torch.view_as_complex(x.to(wide).unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * turn).flatten(-2).to(found)


def shares(total: int, parts: int) -> list[int]:
    """Divide `total` into `parts` whole shares, the first ones larger by one where it does not divide.

    Raises:
        ValueError: there are fewer than there are parts.
    """
    if total < parts:
        raise ValueError(
            f"{2 * total} channels cannot hold a sine and a cosine for each of {parts} dimensions: "
            f"choose width and head_width of at least {2 * parts}."
        )
    return [total // parts + (i < total % parts) for i in range(parts)]
