"""Sample grids and sampling trajectories of a run, reduced to fit a size budget."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mezzotint.reading import changed, obstacle
from mezzotint.report.curves import thin
from mezzotint.report.sprites import Picture, encode, read_tiles
from mezzotint.runs import RunDir
from mezzotint.runs.paths import preview_step

FILM = "-film"
HELD = 1 << 29  # bytes of decoded images that are cached


@dataclass(frozen=True)
class SizeBudget:
    """Limits on the images of a page.

    Args:
        previews: number of preview grids, evenly spread over training.
        drawn: number of sample grids with their trajectories, the newest.
        images: number of images in a grid.
        trajectories: number of trajectories in a strip.
        side: maximum pixels of the longer side of an image.
        quality: of WebP; None stores small images losslessly.
    """

    previews: int
    drawn: int
    images: int
    trajectories: int
    side: int
    quality: int | None

    def longest(self, shape: Sequence[int]) -> int:
        """Return the maximum side of an image in a grid of this shape; a single image may be eight times as large."""
        return self.side if shape[0] * shape[1] > 1 else 8 * self.side

    def halved(self) -> SizeBudget:
        """Return half of each limit."""
        counts = (self.previews, self.drawn, self.images, self.trajectories, self.side)
        return SizeBudget(*(count // 2 for count in counts), self.quality)


LEVELS = (
    SizeBudget(40, 12, 256, 8, 256, None),
    SizeBudget(20, 8, 64, 8, 128, 85),
    SizeBudget(6, 2, 25, 3, 64, 70),
)


def size_budgets() -> Iterator[SizeBudget]:
    """Yield the three levels, then the last one halved until no image is left."""
    yield from LEVELS
    budget = LEVELS[-1]
    while budget.previews or budget.drawn:
        budget = budget.halved()
        yield budget


SIZE_BUDGETS = tuple(size_budgets())


@dataclass(frozen=True)
class ImageSet:
    """The images of a run for the page, and a description of those left out."""

    previews: list[Picture]
    drawn: list[dict[str, Any]]
    left_out: list[str]

    @property
    def size(self) -> int:
        """The approximate number of characters that it adds to the page."""
        shown = [*self.previews, *(one[key] for one in self.drawn for key in ("grid", "film") if one.get(key))]
        said = sum(len(text) + 3 for text in (*self.left_out, *(one["name"] for one in self.drawn)))
        return said + sum(len(picture["src"]) + 150 + 8 * len(picture.get("noise", ())) for picture in shown)


class RunImages:
    """The image files of a run, each decoded once and cached.

    Args:
        shape: (C, H, W) of the run's images; None treats each file as a single image.
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

    def fit(self, limit: int, start: int = 0) -> tuple[ImageSet, int]:
        """Return the richest set of at most `limit` characters, and the index of its size budget.

        Args:
            start: index for the previous run, which is probably similar; the search starts one budget above it.
        """
        last = len(SIZE_BUDGETS) - 1
        for i in range(max(0, start - 1), last):
            images = self.select(SIZE_BUDGETS[i], limit)
            if images.size <= limit:
                return images, i
        return self.select(SIZE_BUDGETS[last]), last

    def select(self, budget: SizeBudget, limit: float = math.inf) -> ImageSet:
        """Return the images within a size budget; stop adding images beyond `limit` characters."""
        images = ImageSet([], [], [])
        for file in thin(list(self.previews), budget.previews):
            picture = self.grid(file, budget) if images.size <= limit else None
            if picture:
                step = self.previews[file]
                images.previews.append({"step": step, "images": step * self.batch_size, **picture})
        newest = self.drawn[len(self.drawn) - min(budget.drawn, len(self.drawn)) :]
        for file in reversed(newest):
            picture = self.grid(file, budget) if images.size <= limit else None
            if picture:
                film = self.film(file.with_name(f"{file.stem}{FILM}.png"), budget)
                images.drawn.append({"name": file.stem, "grid": picture, "film": film})
        images.left_out.extend(self.left_out(budget, len(images.previews), len(images.drawn)))
        return images

    def left_out(self, budget: SizeBudget, previews: int, drawn: int) -> list[str]:
        said = [
            f"{shown} of {there} {what}"
            for shown, there, what in (
                (previews, len(self.previews), "grids of the training"),
                (drawn, len(self.drawn), "grids drawn afterwards"),
            )
            if shown < there
        ]
        films = {file: shape for file, shape in self.shapes.items() if file.stem.endswith(FILM)}
        fewer = [shape[0] * shape[1] > budget.images for file, shape in self.shapes.items() if file not in films]
        fewer += [shape[0] > 2 * budget.trajectories for shape in films.values()]
        if (previews or drawn) and any(fewer):
            said.append(f"at most {budget.images} images of a grid, {budget.trajectories} of a film")
        if (previews or drawn) and any(max(shape[2:4]) > budget.longest(shape) for shape in self.shapes.values()):
            said.append(f"images shrunk to at most {budget.side} pixels")
        return said

    def grid(self, file: Path, budget: SizeBudget) -> Picture | None:
        tiles = self.open(file)
        if tiles is None:
            return None
        columns = min(tiles.shape[1], budget.images)
        shown = tiles[: max(1, budget.images // columns), :columns]
        return encode(shown, budget.longest(shown.shape), budget.quality)

    def film(self, file: Path, budget: SizeBudget) -> Picture | None:
        tiles = self.open(file)
        if tiles is None or tiles.shape[0] % 2 or not budget.trajectories:
            return None
        picture = encode(tiles[: 2 * budget.trajectories], budget.side, budget.quality)
        every = picture["rows"] * picture["columns"]  # including blank frames at the end
        return picture | {"noise": self.noise[file], "count": every}

    def open(self, file: Path) -> np.ndarray | None:
        """Return the images of a file, (rows, columns, H, W, C); None if it is damaged, incomplete or too large."""
        if file not in self.tiles:
            if sum(tiles.nbytes for tiles in self.tiles.values() if tiles is not None) > HELD:
                self.tiles = {}
            self.tiles[file], self.noise[file] = read_tiles(file, self.directory, self.shape)
            if (tiles := self.tiles[file]) is not None:
                self.shapes[file] = tiles.shape
        return self.tiles[file]
