import pytest
import torch

from mezzotint.data.image_set import TensorImages
from mezzotint.metrics import find_neighbours
from mezzotint.metrics.neighbours import search


def line(*values: int) -> torch.Tensor:
    """Images of one pixel, so that a distance is a difference of grey values."""
    return torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1)


def test_the_nearest_are_found_in_every_block(monkeypatch):
    """On a line: the training images are 0, 10, 30, 60, 100, and 7 lies nearest to 10, then 0, then 30."""
    monkeypatch.setattr(search, "BATCH", 2)
    told = []
    found = find_neighbours(line(7, 90), TensorImages(line(0, 10, 30, 60, 100)), 3, progress=told.append)
    assert found.index.tolist() == [[1, 0, 2], [4, 3, 2]]
    torch.testing.assert_close(found.distances * 255, torch.tensor([[3.0, 7, 23], [10, 30, 60]], dtype=torch.float64))
    assert found.typical * 255 == pytest.approx(20.0)  # of 10, 10, 20, 30, 40
    assert told == [2, 2, 1]


def test_a_copy_in_the_training_set_counts_as_its_neighbour():
    found = find_neighbours(line(5), TensorImages(line(5, 5, 5, 90)), 1)
    assert (found.distances.item(), found.typical) == (0.0, 0.0)


def test_distances_may_be_those_of_features():
    """Of the values modulo 10, 19 is nearest to 9."""
    found = find_neighbours(line(19), TensorImages(line(9, 18, 20)), 1, lambda images: images.flatten(1).float() % 10)
    assert (found.index.item(), found.distances.item()) == (0, 0.0)


@pytest.mark.parametrize("count", [0, 3])
def test_there_must_be_enough_images(count):
    with pytest.raises(ValueError, match="of 3 training examples: give 1 to 2"):
        find_neighbours(line(1), TensorImages(line(1, 2, 3)), count)
