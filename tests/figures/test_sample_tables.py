"""Tables of images: each image in its row, block and column, with its names beside it."""

import numpy as np
import pytest
import torch

from mezzotint.figures import plot_film, plot_matrix, plot_neighbours
from mezzotint.generation import Trajectory
from mezzotint.metrics import Neighbours

SIDE = 48  # of an image of 8 x 8 in the picture


def table(*counts: int) -> torch.Tensor:
    """Images of one grey value each, uint8 (*counts, 1, 8, 8): 0, 1, 2, ..."""
    total = int(np.prod(counts))
    return torch.arange(total, dtype=torch.uint8).view(*counts, 1, 1, 1).expand(*counts, 1, 8, 8)


def read(axis) -> tuple[list[str], list[str], list[list[int]]]:
    """Names of rows and columns, and what stands where their ticks cross."""
    pixels = np.asarray(axis.images[0].get_array())[..., 0]
    down, along = (np.round(ticks).astype(int) for ticks in (axis.get_yticks(), axis.get_xticks()))
    names = [[label.get_text() for label in labels] for labels in (axis.get_yticklabels(), axis.get_xticklabels())]
    rows = down if len(down) else range(4 + SIDE // 2, pixels.shape[0], SIDE + 3)
    return *names, [[int(pixels[y, x]) for x in along] for y in rows]


def test_a_matrix_puts_images_beside_their_names():
    (axis,) = plot_matrix(table(2, 3), {"guidance": [1, 2.5]}, {"class": ["a", "b", "c"]}).axes
    assert read(axis) == (["1", "2.5"], ["a", "b", "c"], [[0, 1, 2], [3, 4, 5]])


def test_blocks_stand_side_by_side_under_their_value():
    figure = plot_matrix(table(2, 2, 3), {"grid.steps": [5, 10]}, {"class": [0, 1, 2]}, {"sampler.eta": [0.0, 1.0]})
    left, right = figure.axes
    assert read(left) == (["5", "10"], ["0", "1", "2"], [[0, 1, 2], [6, 7, 8]])
    assert read(right) == ([], ["0", "1", "2"], [[3, 4, 5], [9, 10, 11]])
    assert [axis.get_title() for axis in figure.axes] == ["sampler.eta = 0.0", "sampler.eta = 1.0"]
    assert (figure.get_supylabel(), figure.get_supxlabel()) == ("grid.steps", "class")


def test_a_wide_matrix_stays_on_its_page():
    few, many = (plot_matrix(table(2, n), {"a": [1, 2]}, {"b": range(n)}).get_size_inches() for n in (2, 60))
    assert 4 <= few[0] < many[0] <= 18


@pytest.mark.parametrize(
    ("images", "blocks", "says"),
    [
        (table(2, 3), None, r"2 rows \(guidance\) and 2 columns \(eta\) needs images \(2, 2, C, H, W\)"),
        (table(2, 2), {"steps": [1]}, r"1 blocks \(steps\) and 2 columns"),
    ],
)
def test_names_and_images_must_fit(images, blocks, says):
    with pytest.raises(ValueError, match=says):
        plot_matrix(images, {"guidance": [1, 2]}, {"eta": [0, 1]}, blocks)


def test_a_film_has_the_estimate_under_each_sample():
    frames, estimates = table(3, 2), table(3, 2) + 100
    (axis,) = plot_film(Trajectory(frames, estimates, None, (1.0, 0.512, 0.0)), [4, 7]).axes
    names, shares, shown = read(axis)
    assert names == ["sample 4", "estimate", "sample 7", "estimate"]
    assert shares == ["1.00", "0.51", "0.00"]
    assert shown == [[0, 2, 4], [100, 102, 104], [1, 3, 5], [101, 103, 105]]


def test_neighbours_stand_below_what_was_drawn_with_their_distance():
    found = Neighbours(torch.tensor([[5, 6], [7, 8]]), torch.tensor([[1.0, 3.0], [4.0, 5.0]]), typical=2.0)
    (axis,) = plot_neighbours(table(2), table(2, 2) + 50, found).axes
    assert read(axis) == (["sample", "nearest", "2nd"], ["0.50", "2.00"], [[0, 1], [50, 52], [51, 53]])
