"""Tables of images as matplotlib Figures: sweeps at fixed noise, interpolations, nearest neighbours, trajectories."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mezzotint.figures.images import as_pil, tile
from mezzotint.generation.generator import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mezzotint.metrics import ImageTable, Neighbours

Named = Mapping[str, Sequence[object]]  # one pair: what varies, and its values
INCH = 0.62  # of one image, at least
WIDE = 16.0  # inches: images shrink to fit this width


def plot_matrix(images: Tensor, rows: Named, columns: Named, blocks: Named | None = None) -> "Figure":
    """Plot a table of images: the same samples in every row, while the labelled quantity varies from row to row.

    Args:
        images: uint8 (rows, columns, C, H, W), or with blocks (rows, blocks, columns, C, H, W).
        rows, columns: what varies from row to row and from column to column, as one pair of name and values, such as
            {"guidance.scale": [1, 2, 4]} and {"class": [0, 1, 2, 3]}.
        blocks: a third quantity that varies, as tables side by side.

    Raises:
        ValueError: the numbers of images and labels differ.
    """
    from matplotlib.figure import Figure

    (down, ys), (across, xs), (beside, zs) = *rows.items(), *columns.items(), *(blocks or {"": [""]}).items()
    table = images if blocks else images[:, None]
    if table.shape[:3] != (len(ys), len(zs), len(xs)) or table.dim() != 6:
        wanted = ", ".join(str(len(values)) for values in ((ys, zs, xs) if blocks else (ys, xs)))
        named = f"{len(ys)} rows ({down})" + (f", {len(zs)} blocks ({beside})" if blocks else "")
        raise ValueError(
            f"a matrix of {named} and {len(xs)} columns ({across}) needs images ({wanted}, C, H, W); "
            f"these are {tuple(images.shape)}"
        )
    across_all = len(xs) * len(zs)
    side = min(max(INCH, 4.0 / across_all), WIDE / across_all)
    height = side * table.shape[4] / table.shape[5]
    figure = Figure(figsize=(side * across_all + 1.4, height * len(ys) + 1.0), layout="constrained")
    axes = figure.subplots(1, len(zs), squeeze=False)[0]
    for i, axis in enumerate(axes):
        _draw(axis, table[:, i], ys if i == 0 else (), xs)
        if beside:
            axis.set_title(f"{beside} = {zs[i]}", fontsize="medium", pad=8)
    figure.supxlabel(across, fontsize="medium")
    figure.supylabel(down, fontsize="medium")
    return figure


def plot_film(film: Trajectory, numbers: Sequence[int] | None = None) -> "Figure":
    """Plot a trajectory from noise to image, with the denoiser's estimate of x0 under each state.

    Args:
        film: the trajectory, from `SampleGenerator.film`.
        numbers: sample numbers for the row labels; by default 0, 1, ...
    """
    frames = torch.stack([film.frames, film.estimates], dim=2).permute(1, 2, 0, 3, 4, 5)  # sample, row, frame
    numbers = range(frames.shape[0]) if numbers is None else numbers
    names = [name for number in numbers for name in (f"sample {number}", "estimate")]
    return plot_matrix(frames.flatten(0, 1), {"": names}, {"share of noise": [f"{each:.2f}" for each in film.noise]})


def plot_neighbours(samples: Tensor, near: Tensor, found: "Neighbours") -> "Figure":
    """Plot samples above their nearest training images; see `mezzotint.metrics.neighbour_table`."""
    from mezzotint.metrics import neighbour_table

    return plot_table(neighbour_table(samples, near, found))


def plot_table(table: "ImageTable") -> "Figure":
    """Plot a table of images that a metric returned."""
    return plot_matrix(table.images, table.rows, table.columns)


def _draw(axis: "Axes", images: Tensor, ys: Sequence[object], xs: Sequence[object]) -> None:
    """Draw one table of uint8 (rows, columns, C, H, W), labelled along its left and lower edge."""
    page = tile(images.flatten(0, 1), images.shape[1])
    axis.imshow(as_pil(page.pixels))
    down = [top + page.size[0] / 2 for top, _ in page.corners[:: images.shape[1]]]
    along = [left + page.size[1] / 2 for _, left in page.corners[: images.shape[1]]]
    axis.set_yticks(down if ys else [], [str(y) for y in ys])
    axis.set_xticks(along, [str(x) for x in xs])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
