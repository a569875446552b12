"""The round of labels has the shares of the counts, in every first part of it as nearly as whole images can."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from mezzotint.data import Digits, Emoji
from mezzotint.generation.labels import IMBALANCE, imbalance, in_shares

COUNTS = st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(any).map(torch.tensor)


@given(COUNTS)
def test_a_round_holds_each_class_as_often_as_it_was_counted(counts):
    assert torch.equal(torch.bincount(in_shares(counts), minlength=len(counts)), counts)


@given(COUNTS)
def test_every_first_part_is_in_shares(counts):
    """Among the first n a class has its share within half an image, and half of what the other classes are off."""
    drawn = torch.nn.functional.one_hot(in_shares(counts), len(counts)).cumsum(0)
    due = torch.arange(1, len(drawn) + 1)[:, None] * counts / counts.sum()
    assert float((drawn - due).abs().max()) <= (1 + int((counts > 0).sum())) / 2


@given(st.integers(1, 12), st.integers(1, 12))
def test_equal_counts_take_turns(classes, each):
    assert torch.equal(in_shares(torch.full((classes,), each)), torch.arange(classes * each) % classes)


def test_the_digits_are_balanced_and_the_emoji_are_not():
    digits, emoji = (torch.bincount(data.split("train").labels) for data in (Digits(), Emoji()))
    assert imbalance(digits) < IMBALANCE < imbalance(emoji)
    assert imbalance(torch.tensor([3, 1])) == 0.25
