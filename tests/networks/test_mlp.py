"""The perceptron for points."""

import torch

from mezzotint.networks import MLP


def test_points_in_the_plane_with_labels():
    network, x, time = MLP((2, 1, 1), classes=3), torch.randn(5, 2, 1, 1), torch.arange(5.0)
    label = torch.tensor([0, 1, 2, -1, -1])
    output = network(x, time, label)
    assert output.shape == x.shape
    torch.testing.assert_close(output[3:], network(x, time)[3:])
    assert (output[:3] - network(x, time)[:3]).abs().max() > 1e-4


def test_each_image_is_answered_alone():
    network, x, time = MLP((1, 4, 4)), torch.randn(6, 1, 4, 4), torch.arange(6.0)
    torch.testing.assert_close(network(x, time)[2:4], network(x[2:4], time[2:4]))
