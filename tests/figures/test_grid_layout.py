"""A picture of many comes apart into the images that it was made of."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from mezzotint.figures import film_strip, grid
from mezzotint.figures.grid_layout import FOOT, cut


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 20, 12), (3, 64, 64), (1, 200, 60)], ids=str)
@pytest.mark.parametrize("columns", [1, 3, 4])
def test_a_grid_comes_apart_as_it_was_put_together(shape: tuple[int, int, int], columns: int) -> None:
    images = torch.randint(256, (12, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    tiles = cut(np.asarray(grid(images, columns=columns)), *shape[1:])
    assert tiles is not None
    assert tiles.shape == (12 // columns, columns, *shape[1:], 3)
    there = images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
    assert (tiles.reshape(there.shape) == there).all()


def test_a_film_strip_comes_apart_into_state_above_estimate() -> None:
    frames = torch.arange(6, dtype=torch.uint8).view(3, 2, 1, 1, 1).expand(3, 2, 1, 16, 16)
    tiles = cut(np.asarray(film_strip(frames, frames + 100)), 16, 16)
    assert tiles is not None
    assert tiles[:, :, 0, 0, 0].tolist() == [[0, 2, 4], [100, 102, 104], [1, 3, 5], [101, 103, 105]]


def test_what_is_written_above_and_below_is_no_image() -> None:
    images = torch.randint(255, (6, 3, 20, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    picture = grid(images, columns=3, labels=[*"abcdef"], heads=["one", "two words", ""])
    tiles = cut(np.asarray(picture)[picture.info["head"] :], 20, 12, FOOT)
    assert tiles is not None
    assert (tiles.reshape(6, 20, 12, 3) == images.permute(0, 2, 3, 1).numpy()).all()
    assert cut(np.asarray(picture), 20, 12) is None


def test_a_long_label_takes_up_to_three_lines_below_its_image() -> None:
    images = torch.randint(255, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pictures = [grid(images, 2, ["", "sun", *two]) for two in (["tree", "sea"], ["palm tree", "a" * 90])]
    assert [picture.info["foot"] for picture in pictures] == [FOOT, FOOT + 22]
    tiles = cut(np.asarray(pictures[1]), 32, 32, pictures[1].info["foot"])
    assert tiles is not None
    assert (tiles.reshape(4, 32, 32, 3) == images.permute(0, 2, 3, 1).numpy()).all()
    assert grid(images, 2).info["foot"] == 0


def test_a_picture_of_other_images_is_not_cut() -> None:
    assert cut(np.zeros((70, 70, 3), np.uint8), 16, 16) is None
    assert cut(np.zeros((3, 3, 3), np.uint8), 16, 16) is None


def test_taking_apart_needs_no_torch() -> None:
    code = "import sys, mezzotint.figures.grid_layout; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60) == "False\n"
