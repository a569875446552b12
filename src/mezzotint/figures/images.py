"""Image grids, film strips and GIFs of uint8 images, enlarged to a visible size."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mezzotint.figures.grid_layout import FOOT, enlargement
from mezzotint.figures.grid_layout import gap as gap_of

if TYPE_CHECKING:
    from PIL.Image import Image

PAPER = 255  # grey level between images
LETTER, LINE = 6, 11  # pixels of a character and a line of text
WATCHED = 320  # pixels: small GIFs are enlarged up to this


def grid(
    images: Tensor,
    columns: int | None = None,
    labels: Sequence[object] | Tensor | None = None,
    heads: Sequence[str] | None = None,
) -> "Image":
    """Return a grid of uint8 (B, C, H, W) in reading order, with a label under each image if given.

    `info["head"]` and `info["foot"]` of the picture are the pixels above its columns and below each image.

    Args:
        columns: images per row; by default the grid is about square.
        heads: column headings.
    """
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"grid: {len(labels)} labels for {len(images)} images; give one label per image, or none")
    width = images.shape[-1] * enlargement(*images.shape[-2:])
    lines = [wrapped(f"{label}", width) for label in labels] if labels is not None else []
    foot = max((FOOT + LINE * (len(broken) - 1) for broken in lines), default=0)
    page = tile(images, columns, foot)
    picture = as_pil(page.pixels)
    write(picture, lines, page.corners, page.size)
    picture = headed(picture, heads, page) if heads else picture
    picture.info["foot"] = foot
    return picture


def headed(picture: "Image", heads: Sequence[str], page: "Page") -> "Image":
    """Return the picture with wrapped headings above its columns."""
    from PIL import Image, ImageDraw

    broken = [wrapped(head, page.size[1]) for head in heads]
    height = LINE * max(map(len, broken)) + 2
    paper = Image.new("RGB", (picture.width, picture.height + height), (PAPER,) * 3)
    paper.paste(picture, (0, height))
    draw = ImageDraw.Draw(paper)
    for lines, (_, left) in zip(broken, page.corners, strict=False):
        for i, line in enumerate(lines):
            draw.text((left, height - LINE * (len(lines) - i)), line, fill=(0, 0, 0))
    paper.info["head"] = height
    return paper


@dataclass(frozen=True)
class Page:
    """A page of images: uint8 (3, H, W), the corner (top, left) of each image, and the (height, width) of one."""

    pixels: Tensor
    corners: list[tuple[int, int]]
    size: tuple[int, int]


def tile(images: Tensor, columns: int | None = None, foot: int = 0) -> Page:
    """Lay out uint8 (B, C, H, W) in reading order, with `foot` pixels below each image for its label."""
    images = colour(images)
    count, _, height, width = images.shape
    columns = min(columns or -(-count // max(1, int(count**0.5))), count)
    rows = -(-count // columns)
    gap = gap_of(height)
    size = gap + rows * (height + foot + gap), gap + columns * (width + gap)
    pixels = torch.full((3, *size), PAPER, dtype=torch.uint8)
    corners = [(gap + i // columns * (height + foot + gap), gap + i % columns * (width + gap)) for i in range(count)]
    for image, (top, left) in zip(images, corners, strict=True):
        pixels[:, top : top + height, left : left + width] = image
    return Page(pixels, corners, (height, width))


def film_strip(frames: Tensor, estimates: Tensor | None = None) -> "Image":
    """Return the denoising of a few images from left to right: uint8 (F, B, C, H, W).

    Each image has one row of the sampler's states and below it, if given, one row of the denoiser's estimates of x0.
    """
    rows = [frames] if estimates is None else [frames, estimates]
    if any(row.shape != frames.shape for row in rows) or frames.dim() != 5:
        shapes = " and ".join(str(tuple(row.shape)) for row in rows)
        raise ValueError(f"film_strip takes frames and estimates of one shape (F, B, C, H, W), and was given {shapes}")
    strip = torch.stack(rows, dim=1).permute(2, 1, 0, 3, 4, 5)  # image, row, frame
    return grid(strip.flatten(0, 2), columns=len(frames))


def gif(frames: Tensor, path: str | Path, seconds: float = 3.0, columns: int | None = None) -> Path:
    """Write an animation of uint8 (F, B, C, H, W), each frame a grid; the last one is held for a second.

    A small grid is enlarged by an integer factor, because viewers show a GIF at its own size.
    """
    pages = [grid(frame, columns) for frame in frames]
    factor = max(1, WATCHED // max(pages[0].size))
    pages = [page.resize((page.width * factor, page.height * factor), resample=0) for page in pages]
    pace = max(20, round(1000 * seconds / len(pages)))
    path = Path(path)
    pages[0].save(
        path, save_all=True, append_images=pages[1:], duration=[pace] * (len(pages) - 1) + [pace + 1000], loop=0
    )
    return path


def show(x: Tensor, columns: int | None = None, labels: Sequence[object] | Tensor | None = None) -> "Image":
    """Return a picture of float images in [-1, 1] or uint8 images, (C, H, W) or (B, C, H, W), for a notebook."""
    x = x.detach().cpu()
    if x.dim() == 3:
        x = x[None]
    if x.is_floating_point():
        from mezzotint.data.scaling import PixelScaling

        x = PixelScaling().to_uint8(x)
    return grid(x, columns, labels)


def colour(images: Tensor) -> Tensor:
    """Return uint8 (B, 3, H, W), enlarged by an integer factor to a visible size.

    Grey images are repeated; of two, or more than three, channels the first three are the colours.
    """
    if images.dtype != torch.uint8 or images.dim() != 4:
        raise ValueError(
            f"a picture takes uint8 images (B, C, H, W), and was given {images.dtype} {tuple(images.shape)}. "
            "show() also takes floats in [-1, 1]."
        )
    if not len(images):
        raise ValueError("a picture needs at least one image, and was given none")
    images = images.detach().cpu()
    channels = images.shape[1]
    if channels == 1:
        images = images.expand(-1, 3, -1, -1)
    elif channels == 2:
        images = torch.cat([images, torch.zeros_like(images[:, :1])], dim=1)
    factor = enlargement(*images.shape[2:])
    return images[:, :3].repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)


def as_pil(page: Tensor) -> "Image":
    """Convert uint8 (3, H, W) to a PIL image."""
    from PIL import Image

    return Image.fromarray(page.permute(1, 2, 0).contiguous().numpy())


def wrapped(text: str, width: int) -> list[str]:
    """Return a text as lines that fit into so many pixels, three at most and one at least."""
    letters = max(1, width // LETTER)
    return textwrap.wrap(text, letters, max_lines=3, placeholder="…"[: letters - 1]) or [""]


def write(
    picture: "Image", labels: Sequence[Sequence[str]], corners: Sequence[tuple[int, int]], size: tuple[int, int]
) -> None:
    """Write the lines of each label below its image."""
    from PIL import ImageDraw

    draw = ImageDraw.Draw(picture)
    for lines, (top, left) in zip(labels, corners, strict=False):
        for i, line in enumerate(lines):
            draw.text((left, top + size[0] + LINE * i), line, fill=(0, 0, 0))
