"""The cost of a network, against published numbers and by hand."""

import pytest
import torch

from mezzotint.cost.flops import describe
from mezzotint.networks import MLP, UNet


def test_the_network_of_ddpm_takes_12_44_gflop():
    """6.2 GMAC a forward pass of one 32 x 32 image, attention counted."""
    with torch.device("meta"):
        network = UNet((3, 32, 32))
    cost = describe(network, (3, 32, 32))
    assert cost.parameters == 35_746_307
    assert cost.flops / 1e9 == pytest.approx(12.44, abs=0.01)
    assert str(cost) == "35.75 M parameters, 12.44 GFLOP an image"


def test_the_flops_of_a_perceptron_by_hand():
    """Time: 8 -> 8 -> 8; then 6 -> 8, two hidden layers, 8 -> 6."""
    network = MLP((6, 1, 1), width=8, layers=2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert describe(network, (6, 1, 1)).flops == 2 * (2 * 8 * 8 + 6 * 8 + 2 * 8 * 8 + 8 * 6)
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
