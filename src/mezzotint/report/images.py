"""The pictures of a run, taken apart and shrunk until they fit into their share of the page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mezzotint.reading import changed, obstacle
from mezzotint.report.curves import thin
from mezzotint.report.sprites import Picture, encode, read_tiles
from mezzotint.runs import RunDir
from mezzotint.runs.directory import preview_step

FILM = "-film"
HELD = 1 << 29  # bytes of decoded pictures that are kept for the next rung


@dataclass(frozen=True)
class SizeBudget:
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

    def longest(self, shape: Sequence[int]) -> int:
        """Pixels of the longer side of an image among rows and columns of them; a file alone is shown as it is."""
        return self.side if shape[0] * shape[1] > 1 else 8 * self.side


LADDER = (
    SizeBudget(40, 12, 256, 8, 256, None),
    SizeBudget(40, 12, 100, 8, 256, 90),
    SizeBudget(20, 8, 64, 8, 128, 85),
    SizeBudget(12, 6, 64, 6, 96, 80),
    SizeBudget(10, 4, 36, 4, 64, 75),
    SizeBudget(6, 2, 25, 3, 64, 70),
    SizeBudget(4, 1, 16, 2, 48, 60),
    SizeBudget(1, 1, 9, 1, 32, 60),
    SizeBudget(1, 0, 4, 0, 32, 50),
    SizeBudget(0, 0, 0, 0, 1, 50),
)


@dataclass(frozen=True)
class ImageSet:
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


class RunImages:
    """The picture files of a run: each is opened once, whatever is tried with it.

    Args:
        shape: (C, H, W) of the run's images; None shows each file as it is.
    """

    def __init__(self, directory: Path, shape: Sequence[int] | None, batch_size: int) -> None:
        self.directory, self.shape, self.batch_size = directory, shape, batch_size
        folder = RunDir(directory).samples
        files = [] if obstacle(folder, directory) else sorted(folder.glob("*.png"))
        steps = {file: preview_step(file) for file in files}
        self.previews = {file: step for file, step in steps.items() if step is not None}
        own = [file for file in files if file not in self.previews and not file.stem.endswith(FILM)]
        films = {file.stem.removesuffix(FILM) for file in files if file.stem.endswith(FILM)}
        self.drawn = sorted((file for file in own if file.stem in films), key=changed)
        self.tiles: dict[Path, np.ndarray | None] = {}
        self.shapes: dict[Path, tuple[int, ...]] = {}
        self.noise: dict[Path, list[float]] = {}

    def album(self, room: int, rung: int = 0) -> tuple[ImageSet, int]:
        """The richest album that takes at most so many characters, and its rung of the ladder.

        Args:
            rung: of a run beside this one, which is likely to be alike: it is begun just above.
        """
        last = len(LADDER) - 1
        for i in range(max(0, rung - 1), last):
            album = self.take(LADDER[i], room)
            if album.size <= room:
                return album, i
        return self.take(LADDER[last]), last

    def take(self, thrift: SizeBudget, room: float = math.inf) -> ImageSet:
        """What a rung of the ladder shows; no more is added where it takes more than this room."""
        album = ImageSet([], [], [])
        for file in thin(list(self.previews), thrift.previews):
            picture = self.grid(file, thrift) if album.size <= room else None
            if picture:
                step = self.previews[file]
                album.previews.append({"step": step, "images": step * self.batch_size, **picture})
        newest = self.drawn[len(self.drawn) - min(thrift.drawn, len(self.drawn)) :]
        for file in reversed(newest):
            picture = self.grid(file, thrift) if album.size <= room else None
            if picture:
                film = self.film(file.with_name(f"{file.stem}{FILM}.png"), thrift)
                album.drawn.append({"name": file.stem, "grid": picture, "film": film})
        album.left_out.extend(self.left_out(thrift, len(album.previews), len(album.drawn)))
        return album

    def left_out(self, thrift: SizeBudget, previews: int, drawn: int) -> list[str]:
        said = [
            f"{shown} of {there} {what}"
            for shown, there, what in (
                (previews, len(self.previews), "grids of the training"),
                (drawn, len(self.drawn), "grids drawn afterwards"),
            )
            if shown < there
        ]
        films = {file: shape for file, shape in self.shapes.items() if file.stem.endswith(FILM)}
        fewer = [shape[0] * shape[1] > thrift.images for file, shape in self.shapes.items() if file not in films]
        fewer += [shape[0] > 2 * thrift.actors for shape in films.values()]
        if (previews or drawn) and any(fewer):
            said.append(f"at most {thrift.images} images of a grid, {thrift.actors} of a film")
        if (previews or drawn) and any(max(shape[2:4]) > thrift.longest(shape) for shape in self.shapes.values()):
            said.append(f"images shrunk to at most {thrift.side} pixels")
        return said

    def grid(self, file: Path, thrift: SizeBudget) -> Picture | None:
        tiles = self.open(file)
        if tiles is None:
            return None
        columns = min(tiles.shape[1], thrift.images)
        shown = tiles[: max(1, thrift.images // columns), :columns]
        return encode(shown, thrift.longest(shown.shape), thrift.quality)

    def film(self, file: Path, thrift: SizeBudget) -> Picture | None:
        tiles = self.open(file)
        if tiles is None or tiles.shape[0] % 2 or not thrift.actors:
            return None
        picture = encode(tiles[: 2 * thrift.actors], thrift.side, thrift.quality)
        every = picture["rows"] * picture["columns"]  # white ones at the end too
        return picture | {"noise": self.noise[file], "count": every}

    def open(self, file: Path) -> np.ndarray | None:
        """(rows, columns, H, W, C) of a file; None where it is broken, still being written, or far too large."""
        if file not in self.tiles:
            if sum(tiles.nbytes for tiles in self.tiles.values() if tiles is not None) > HELD:
                self.tiles = {}
            self.tiles[file], self.noise[file] = read_tiles(file, self.directory, self.shape)
            if (tiles := self.tiles[file]) is not None:
                self.shapes[file] = tiles.shape
        return self.tiles[file]
