"""The order of data is a function of (seed, position): it can be entered anywhere and shared out in any way."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mezzotint.data.order import Order, Share, micro_batches
from mezzotint.errors import ConfigError


def test_every_epoch_holds_every_image_once_and_epochs_differ():
    order = Order(seed=3, size=97)
    epochs = order.indices(torch.arange(3 * 97)).view(3, 97)
    assert torch.equal(epochs.sort(1).values, torch.arange(97).expand(3, 97))
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[0], Order(seed=4, size=97).indices(torch.arange(97)))


@settings(max_examples=40)
@given(st.integers(0, 500), st.integers(1, 60), st.integers(1, 30))
def test_the_order_can_be_entered_anywhere(start, length, size):
    whole = Order(7, size).indices(torch.arange(600))
    assert torch.equal(Order(7, size).indices(torch.arange(start, start + length)), whole[start : start + length])


def test_a_batch_larger_than_the_set_crosses_several_epochs():
    assert sorted(Order(0, 5).indices(torch.arange(12)).bincount().tolist()) == [2, 2, 2, 3, 3]


@pytest.mark.parametrize("start", [0, 640, 17])
@pytest.mark.parametrize(("world", "size"), [(1, 64), (1, 16), (2, 32), (2, 8), (4, 16), (4, 4)])
def test_any_split_of_a_step_covers_the_same_positions(world, size, start):
    _, accumulation = micro_batches(64, world, size)
    for step in (0, 1, 5):
        seen = [
            Share(size, rank, world, start).positions(step * accumulation + k)
            for rank in range(world)
            for k in range(accumulation)
        ]
        assert torch.equal(torch.cat(seen).sort().values, start + torch.arange(step * 64, step * 64 + 64))


def test_the_shares_follow_the_formula():
    """p = start + m n w + r + w j with n = 3, w = 2, r = 1, m = 2, start = 100."""
    assert Share(3, 1, 2, 100).positions(2).tolist() == [113, 115, 117]


@pytest.mark.parametrize(
    ("given_", "expected"), [((64, 1, None), (64, 1)), ((64, 2, None), (32, 1)), ((64, 2, 8), (8, 4))]
)
def test_micro_batches(given_, expected):
    assert micro_batches(*given_) == expected


@pytest.mark.parametrize(
    ("given_", "cure"),
    [
        ((65, 2, None), "64 or 66, or another number of processes"),
        ((64, 1, 48), "48 or 96, or another micro-batch than 48"),
        ((3, 4, None), "batch_size=4"),
        ((0, 1, None), "batch_size=1"),
    ],
)
def test_a_batch_that_cannot_be_shared_out_is_refused_with_the_nearest(given_, cure):
    with pytest.raises(ConfigError, match=cure):
        micro_batches(*given_)
