"""Layers of transformers by their definitions: patches, positions, gated units and norms."""

import itertools
import math

import pytest
import torch
from torch import nn

from mezzotint.networks import DiT
from mezzotint.networks.transformers.blocks import EPSILON, SwiGLU
from mezzotint.networks.transformers.patches import PatchEmbedding, patchify, unpatchify
from mezzotint.networks.transformers.positions import rotary_table, rotate, sinusoidal_positions, with_unturned


@pytest.mark.parametrize("size", [(6,), (4, 6), (2, 4, 6)], ids=str)
def test_patches_are_cut_one_at_a_time(size):
    x, patch = torch.randn(2, 3, *size), 2
    corners = itertools.product(*(range(0, length, patch) for length in size))
    expected = [x[(slice(None), slice(None), *(slice(c, c + patch) for c in corner))].flatten(1) for corner in corners]
    patches = patchify(x, patch)
    torch.testing.assert_close(patches, torch.stack(expected, dim=1), rtol=0, atol=0)
    torch.testing.assert_close(unpatchify(patches, [length // patch for length in size], patch), x, rtol=0, atol=0)


@pytest.mark.parametrize(("rank", "function"), [(1, "conv1d"), (2, "conv2d"), (3, "conv3d")])
def test_the_patch_embedding_is_a_convolution_whose_stride_is_its_kernel(rank, function):
    layer, x = PatchEmbedding(3, rank, 2, 5), torch.randn(2, 3, *[4] * rank)
    weight = layer.linear.weight.unflatten(1, (3, *[2] * rank))
    expected = getattr(nn.functional, function)(x, weight, layer.linear.bias, stride=2).flatten(2).transpose(1, 2)
    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-6)


def test_positions_are_sines_and_cosines_of_the_column_then_of_the_row():
    table = sinusoidal_positions((2, 3), 8)
    for row, column in itertools.product(range(2), range(3)):
        angles = [[place * 10000 ** (-i / 2) for i in range(2)] for place in (column, row)]
        expected = [wave(angle) for axis in angles for wave in (math.sin, math.cos) for angle in axis]
        torch.testing.assert_close(table[3 * row + column], torch.tensor(expected), rtol=0, atol=1e-7)


def test_rotations_are_products_with_complex_numbers():
    """By row for the first half of the pairs, by column for the second; leading tokens stay as they are."""
    x = torch.randn(2, 3, 1 + 6, 8)
    pairs = torch.view_as_complex(x.reshape(2, 3, 7, 4, 2).contiguous())
    places = torch.tensor([(row, column) for row in range(2) for column in range(3)])
    angles = torch.stack([places[:, 0], places[:, 0] / 100, places[:, 1], places[:, 1] / 100], dim=1)
    turns = torch.cat([torch.ones(1, 4), torch.polar(torch.ones(6, 4), angles)])
    expected = torch.view_as_real(pairs * turns).flatten(-2)
    torch.testing.assert_close(rotate(x, with_unturned(rotary_table((2, 3), 8), 1)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # torch's own, in the compiler
def test_rotations_of_compiled_graphs_are_those_of_eager_code():
    """Complex products there, real ones here; forward-mode derivatives pass through both, and half precision."""
    table, x = rotary_table((2, 3), 8), torch.randn(2, 3, 8, 6).transpose(2, 3)
    compiled = torch.compile(rotate, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(rotate(x, table), compiled(x, table), rtol=0, atol=1e-6)
    _, derivative = torch.func.jvp(lambda x: rotate(x, table), (x,), (x,))
    torch.testing.assert_close(derivative, rotate(x, table), rtol=0, atol=1e-6)  # it is linear
    half = rotate(x.bfloat16(), table.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), rotate(x, table), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("grid", [(9,), (4, 5), (3, 3, 3)], ids=str)
def test_scores_of_rotated_queries_and_keys_depend_on_the_offset_alone(grid):
    query, key = torch.randn(2, 16)
    table, places = rotary_table(grid, 16), list(itertools.product(*map(range, grid)))
    one, other = (rotate(vector.expand(len(places), 16), table) for vector in (query, key))
    scores, found = one @ other.T, {}
    for (i, a), (j, b) in itertools.product(enumerate(places), repeat=2):
        offset = tuple(x - y for x, y in zip(a, b, strict=True))
        torch.testing.assert_close(scores[i, j], found.setdefault(offset, scores[i, j]), rtol=0, atol=1e-4)
    assert len({round(score.item(), 3) for score in found.values()}) > len(places)


def test_swiglu_is_its_formula_with_the_parameters_of_an_mlp():
    layer, x = SwiGLU(12, 48), torch.randn(2, 5, 12)
    gate, value = layer.first.weight.split(32)
    gate_bias, value_bias = layer.first.bias.split(32)
    h = x @ gate.T + gate_bias
    expected = (h / (1 + (-h).exp()) * (x @ value.T + value_bias)) @ layer.second.weight.T + layer.second.bias
    torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-6)
    assert layer.first.weight.numel() + layer.second.weight.numel() == 2 * 12 * 48


def test_modern_norms_divide_by_the_root_mean_square():
    network = DiT((3, 8, 8), width=16, depth=1, head_width=8, rms_norm=True, qk_norm=True)
    block, x = network.blocks[0], torch.randn(2, 5, 16)
    expected = x / (x.square().mean(-1, keepdim=True) + EPSILON).sqrt()
    torch.testing.assert_close(block.norm1(x), expected, rtol=1e-5, atol=1e-6)
    assert block.attention.query_norm.weight.shape == (8,)
