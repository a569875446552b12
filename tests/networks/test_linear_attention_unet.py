"""The U-Net of denoising-diffusion-pytorch: laws of its layers; tests/runs compares it with a second writing."""

import pytest
import torch
from torch import nn

from mezzotint.networks import ImageCondition, LinearAttentionUNet, TextCondition, VectorCondition
from mezzotint.networks.linear_attention_unet import ChannelRMSNorm, LinearAttention, SpaceToDepth, Step

SMALL = {"width": 8, "multipliers": (1, 2), "heads": 2, "head_width": 4}


@pytest.mark.parametrize("shape", [(2, 12), (1, 8, 12), (1, 4, 4, 8)], ids=str)
def test_data_of_any_rank_and_a_learned_variance(shape):
    torch.manual_seed(0)
    network = LinearAttentionUNet(shape, classes=3, learned_variance=True, **SMALL)
    x, time = torch.randn(4, *shape), torch.rand(4) * 1000
    out = network(x, time, torch.tensor([0, 1, 2, -1]))
    assert out.shape == (4, 2 * shape[0], *shape[1:])
    assert torch.equal(network(x, time), network(x, time, torch.full((4,), -1)))
    out.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


def test_linear_attention_is_its_formula_without_a_square_matrix():
    """softmax(q) over channels times softmax(k)^T v over positions, with the memory among them."""
    torch.manual_seed(0)
    layer = LinearAttention(6, heads=1, head_width=5, rank=1).double()
    x = torch.randn(1, 6, 7, dtype=torch.float64)
    normed = (x / x.norm(dim=1, keepdim=True) * 6**0.5)[0]
    q, k, v = (layer.qkv.weight[:, :, 0] @ normed).chunk(3)
    k, v = torch.cat([layer.memory[0, 0], k], 1), torch.cat([layer.memory[1, 0], v], 1)
    pairs = torch.einsum("dn,dm->nm", q.softmax(0), k.softmax(1)) / 5**0.5  # (position, position or memory)
    out = layer.output.weight[:, :, 0] @ (v @ pairs.T) + layer.output.bias[:, None]
    expected = x[0] + out / out.norm(dim=0, keepdim=True) * 6**0.5
    torch.testing.assert_close(layer(x)[0], expected, rtol=1e-12, atol=1e-12)


def test_space_to_depth_is_pixel_unshuffle_and_the_norm_has_unit_mean_square():
    x = torch.randn(2, 3, 4, 6)
    assert torch.equal(SpaceToDepth()(x), nn.functional.pixel_unshuffle(x, 2))
    torch.testing.assert_close(ChannelRMSNorm(3, 2)(x).square().mean(1), torch.ones(2, 4, 6))


def test_recomputed_activations_give_the_same_gradients():
    torch.manual_seed(0)
    network = LinearAttentionUNet((1, 8, 8), **SMALL)
    x, time = torch.randn(2, 1, 8, 8), torch.rand(2)
    network(x, time).sum().backward()
    first = [parameter.grad.clone() for parameter in network.parameters()]
    network.zero_grad()
    for step in (part for part in network.modules() if isinstance(part, Step)):
        step.checkpointing = True
    network(x, time).sum().backward()
    assert all(torch.equal(a, b.grad) for a, b in zip(first, network.parameters(), strict=True))


def test_conditions():
    torch.manual_seed(0)
    given = {"speed": VectorCondition(2), "scan": ImageCondition((1, 8, 8))}
    network = LinearAttentionUNet((1, 8, 8), conditions=given, **SMALL)
    x, time = torch.randn(2, 1, 8, 8), torch.rand(2)
    plain = network(x, time)
    assert not torch.equal(network(x, time, speed=torch.randn(2, 2)), plain)
    assert not torch.equal(network(x, time, scan=torch.randn(2, 1, 8, 8)), plain)
    with pytest.raises(ValueError, match="takes no sequences such as caption: use UNet or DiT"):
        LinearAttentionUNet((1, 8, 8), conditions={"caption": TextCondition()}, **SMALL)


def test_refusals():
    with pytest.raises(ValueError, match="6 x 6 images do not fit 3 levels"):
        LinearAttentionUNet((1, 6, 6), multipliers=(1, 2, 4))
    with pytest.raises(ValueError, match="no level has size 5"):
        LinearAttentionUNet((1, 8, 8), attention=(5,), multipliers=(1, 2))
