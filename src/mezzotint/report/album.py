"""The pictures of a run, taken apart and shrunk until they fit into their share of the page."""

import base64
import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mezzotint.generation.layout import cut
from mezzotint.report.history import number, thin

Picture = dict[str, Any]
PREVIEW = re.compile(r"step-(\d+)")
FILM = "-film"
WEBP = 16383  # pixels a side: the format has no larger pictures
SMALL = 64  # pixels: up to this an image loses nothing where there is room


@dataclass(frozen=True)
class Thrift:
    """How much is shown.

    Args:
        previews: grids drawn while training, evenly spread.
        drawn: grids and film strips drawn afterwards, the newest.
        images: in a grid.
        actors: in a film.
        side: pixels of the longer side of an image, at most.
        quality: of WebP; None keeps every pixel of small images as it is.
    """

    previews: int
    drawn: int
    images: int
    actors: int
    side: int
    quality: int | None


LADDER = (
    Thrift(40, 12, 256, 8, 256, None),
    Thrift(40, 12, 100, 8, 256, 90),
    Thrift(20, 8, 64, 8, 128, 85),
    Thrift(12, 6, 64, 6, 96, 80),
    Thrift(10, 4, 36, 4, 64, 75),
    Thrift(6, 2, 25, 3, 64, 70),
    Thrift(4, 1, 16, 2, 48, 60),
    Thrift(1, 1, 9, 1, 32, 60),
    Thrift(1, 0, 4, 0, 32, 50),
    Thrift(0, 0, 0, 0, 1, 50),
)


@dataclass(frozen=True)
class Album:
    """The pictures of a run for the page, and what was left out of them, in words."""

    previews: list[Picture]
    drawn: list[dict[str, Any]]
    left_out: list[str]

    @property
    def size(self) -> int:
        """Characters of the page that it takes, nearly."""
        shown = [*self.previews, *(one[key] for one in self.drawn for key in ("grid", "film") if one.get(key))]
        said = sum(len(text) + 3 for text in (*self.left_out, *(one["name"] for one in self.drawn)))
        return said + sum(len(picture["src"]) + 150 + 8 * len(picture.get("noise", ())) for picture in shown)


class Photographs:
    """The picture files of a run: each is opened once, whatever is tried with it.

    Args:
        shape: (C, H, W) of the run's images; None shows each file as it is.
    """

    def __init__(self, directory: Path, shape: Sequence[int] | None, batch_size: int) -> None:
        self.shape, self.batch_size = shape, batch_size
        files = sorted((directory / "samples").glob("*.png"))
        self.previews = [file for file in files if PREVIEW.fullmatch(file.stem)]
        own = [file for file in files if not PREVIEW.fullmatch(file.stem) and not file.stem.endswith(FILM)]
        films = {file.stem.removesuffix(FILM) for file in files if file.stem.endswith(FILM)}
        self.drawn = sorted((file for file in own if file.stem in films), key=lambda file: file.stat().st_mtime)
        self.tiles: dict[Path, np.ndarray | None] = {}
        self.noise: dict[Path, list[float]] = {}

    def album(self, room: int, rung: int = 0) -> tuple[Album, int]:
        """The richest album that takes at most so many characters, and its rung of the ladder.

        Args:
            rung: of a run beside this one, which is likely to be alike: it is begun just above.
        """
        first = max(0, rung - 1)
        found = ((self.take(thrift), i) for i, thrift in enumerate(LADDER[first:], first))
        return next((album, i) for album, i in found if album.size <= room or i == len(LADDER) - 1)

    def take(self, thrift: Thrift) -> Album:
        chosen = thin(self.previews, thrift.previews)
        previews = [
            {"step": step, "images": step * self.batch_size, **picture}
            for file in chosen
            if (picture := self.grid(file, thrift))
            for step in [int(file.stem.partition("-")[2])]
        ]
        newest = self.drawn[len(self.drawn) - min(thrift.drawn, len(self.drawn)) :]
        drawn = [
            {"name": file.stem, "grid": grid, "film": self.film(file.with_name(f"{file.stem}{FILM}.png"), thrift)}
            for file in reversed(newest)
            if (grid := self.grid(file, thrift))
        ]
        return Album(previews, drawn, self.left_out(thrift, len(previews), len(drawn)))

    def left_out(self, thrift: Thrift, previews: int, drawn: int) -> list[str]:
        said = [
            f"{shown} of {there} {what}"
            for shown, there, what in (
                (previews, len(self.previews), "grids of the training"),
                (drawn, len(self.drawn), "grids drawn afterwards"),
            )
            if shown < there
        ]
        shapes = [tiles.shape for tiles in self.tiles.values() if tiles is not None]
        if (previews or drawn) and any(rows * columns > thrift.images for rows, columns, *_ in shapes):
            said.append(f"at most {thrift.images} images of a grid, {thrift.actors} of a film")
        if (previews or drawn) and any(max(height, width) > thrift.side for _, _, height, width, _ in shapes):
            said.append(f"images shrunk to at most {thrift.side} pixels")
        return said

    def grid(self, file: Path, thrift: Thrift) -> Picture | None:
        tiles = self.open(file)
        if tiles is None:
            return None
        columns = min(tiles.shape[1], thrift.images)
        return encode(tiles[: max(1, thrift.images // columns), :columns], thrift)

    def film(self, file: Path, thrift: Thrift) -> Picture | None:
        tiles = self.open(file)
        if tiles is None or tiles.shape[0] % 2 or not thrift.actors:
            return None
        picture = encode(tiles[: 2 * thrift.actors], thrift)
        every = picture["rows"] * picture["columns"]  # white ones at the end too
        return picture | {"noise": self.noise[file], "count": every}

    def open(self, file: Path) -> np.ndarray | None:
        """(rows, columns, H, W, C) of a file; None where it is broken, still being written, or far too large."""
        if file not in self.tiles:
            self.tiles[file], self.noise[file] = read_tiles(file, self.shape)
        return self.tiles[file]


def read_tiles(file: Path, shape: Sequence[int] | None) -> tuple[np.ndarray | None, list[float]]:
    """The images of a file, and of a film the share of noise in each frame, where the file says it."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file) as opened:
                picture = np.asarray(opened.convert("RGB"))
                noise = [number(float(word)) or 0.0 for word in str(opened.info.get("noise", "")).split()]
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None, []
    tiles = cut(picture, *shape[1:]) if shape and len(shape) == 3 else None
    return (picture[None, None] if tiles is None else tiles), noise


def encode(tiles: np.ndarray, thrift: Thrift) -> Picture:
    """One sheet of images side by side, without gaps, as WebP in base64."""
    from PIL import Image

    rows, columns = tiles.shape[:2]
    side = thrift.side if rows * columns > 1 else 8 * thrift.side  # a file that is shown as it is
    tiles = shrink(tiles, side)
    height, width = tiles.shape[2:4]
    tiles = tiles[: max(1, WEBP // height), : max(1, WEBP // width)]
    rows, columns = tiles.shape[:2]
    sheet = tiles.swapaxes(1, 2).reshape(rows * height, columns * width, -1)[:WEBP, :WEBP]
    out = io.BytesIO()
    exact = thrift.quality is None and max(height, width) <= SMALL
    how = {"lossless": True, "quality": 50} if exact else {"quality": thrift.quality or 90}
    Image.fromarray(np.ascontiguousarray(sheet)).save(out, "WEBP", **how)
    blank = (tiles == 255).all(axis=(2, 3, 4)).reshape(-1)
    count = rows * columns - int(blank[::-1].argmin() if not blank.all() else 0)
    return {
        "src": base64.b64encode(out.getvalue()).decode(),
        "rows": rows,
        "columns": columns,
        "height": height,
        "width": width,
        "count": count,
    }


def shrink(tiles: np.ndarray, side: int) -> np.ndarray:
    """Images averaged over squares of pixels, until the longer side is at most so long."""
    rows, columns, height, width, channels = tiles.shape
    by = -(-max(height, width) // side)
    if by <= 1 or min(height, width) < by:
        return tiles
    small = tiles[:, :, : height // by * by, : width // by * by]
    small = small.reshape(rows, columns, height // by, by, width // by, by, channels)
    return small.mean(axis=(3, 5)).round().astype(np.uint8)
