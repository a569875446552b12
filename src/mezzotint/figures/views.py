"""Pictures of data that are not images: lines for series, grey fields for grids, slices for volumes."""

import torch
from torch import Tensor
from torch.nn import functional

from mezzotint.data.codecs.base import Codec
from mezzotint.figures.grid_layout import HEIGHT, MOST, WIDTH, slice_count

SPREAD = 3.0  # units of x that a picture spans on either side of 0, where the data are unbounded
PAPER = 250  # grey level behind lines
INKS = ((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189), (140, 86, 75))


def as_images(stored: Tensor, codec: Codec) -> Tensor:
    """Return a picture of each example, uint8 (B, 1 or 3, H, W); images are their own.

    Args:
        stored: examples as they are stored, (B, C, *size).
        codec: of the data; its bounds, or three deviations, are the range of the picture.
    """
    if codec.is_image(stored.shape[1:]):
        return stored
    return {1: lines, 2: fields, 3: slices}[stored.dim() - 2](shares_of(stored, codec))


def as_frames(stored: Tensor, codec: Codec) -> Tensor:
    """Return a picture of every slice of volumes, or every frame of videos: uint8 (D, B, 1 or 3, H, W)."""
    shares = shares_of(stored, codec)
    return torch.stack([slices(shares[:, :, [depth]]) for depth in range(shares.shape[2])])


def shares_of(stored: Tensor, codec: Codec) -> Tensor:
    """Return numbers as shares of the range that a picture spans, 0 to 1."""
    low, high = codec.bounds or (-SPREAD, SPREAD)
    return codec.encode(stored).cpu().sub_(low).div_(high - low).clamp_(0, 1)


def table_as_images(table: Tensor, codec: Codec) -> Tensor:
    """Return `as_images` of a table of examples, (rows, columns, C, *size)."""
    return as_images(table.flatten(0, 1), codec).unflatten(0, table.shape[:2])


def lines(shares: Tensor) -> Tensor:
    """Draw series (B, C, length) of numbers in [0, 1] as lines, one colour a channel: (B, 3, H, W)."""
    length = shares.shape[-1]
    width = min(max(length, WIDTH[0]), WIDTH[1])
    if length < width:
        shares = functional.interpolate(shares, width, mode="linear", align_corners=True) if length > 1 else shares
        shares = shares.expand(-1, -1, width)
    rows = (HEIGHT - 1) * (1 - shares)
    top, foot = -functional.adaptive_max_pool1d(-rows, width), functional.adaptive_max_pool1d(rows, width)
    joined = foot[..., :-1], top[..., :-1]  # a column reaches up or down to the one before it
    top[..., 1:] = torch.minimum(top[..., 1:], joined[0])
    foot[..., 1:] = torch.maximum(foot[..., 1:], joined[1])
    level = torch.arange(HEIGHT)[:, None]
    inked = (level >= top.round()[:, :, None]) & (level <= foot.round()[:, :, None])
    page = torch.full((len(shares), 3, HEIGHT, width), PAPER, dtype=torch.uint8)
    for channel in range(shares.shape[1]):
        ink = torch.tensor(INKS[channel % len(INKS)], dtype=torch.uint8).view(3, 1, 1)
        page = torch.where(inked[:, channel, None], ink, page)
    return page


def fields(shares: Tensor) -> Tensor:
    """Draw fields (B, C, H, W) of numbers in [0, 1] in grey, the first channels side by side: (B, 1, H, C W)."""
    return grey(torch.cat(shares[:, :MOST].split(1, dim=1), dim=-1))


def slices(shares: Tensor) -> Tensor:
    """Draw slices of volumes, or frames of videos, (B, C, D, H, W), side by side with a white pixel between them.

    Three channels are colours; others lie below each other, the first ones of them.
    """
    depth, width = shares.shape[2], shares.shape[4]
    count = slice_count(depth, width)
    chosen = ((torch.arange(count) + 0.5) * depth / count).long()
    separated = functional.pad(shares[:, :, chosen], (0, 1), value=1.0)
    strip = torch.cat(list(separated.unbind(2)), dim=-1)[..., :-1]
    if strip.shape[1] == 3:
        return grey(strip)
    return grey(torch.cat(strip[:, :MOST].split(1, dim=1), dim=-2))


def grey(shares: Tensor) -> Tensor:
    return (shares * 255).round_().to(torch.uint8)
