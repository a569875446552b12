"""Measurements that come with matplotlib: whole windows, in their own unit, none in both splits."""

import numpy as np
import pytest
import torch

from mezzotint.data import EEG, Terrain, codec_of

COUNTS = {Terrain: (6391, 1411), EEG: (577, 97)}


@pytest.mark.parametrize("kind", COUNTS)
def test_splits_share_no_value_and_the_codec_standardises_them(kind):
    dataset = kind()
    train, test = (dataset.split(name) for name in ("train", "test"))
    assert (len(train), len(test)) == COUNTS[kind]
    assert len(dataset.split("all")) == sum(COUNTS[kind])
    assert train.pixels.shape[1:] == dataset.shape
    codec = codec_of(dataset)
    assert train.pixels.dtype == codec.dtype
    x = codec.encode(train.pixels).transpose(0, 1).flatten(1)
    assert x.mean(1).abs().max() < 0.05
    assert (x.std(1) - 1).abs().max() < 0.15
    assert train.digest() != test.digest()


def test_windows_lie_where_they_were_measured():
    windows = EEG().split("train").pixels
    assert torch.equal(windows[1:, :, :-1], windows[:-1, :, 1:])
    heights = Terrain().split("train").pixels.numpy()
    assert np.array_equal(heights[0, 0, :, 4:], heights[1, 0, :, :-4])


def test_windows_of_another_length():
    assert EEG(shape=(4, 32)).split("train").pixels.shape == (609, 4, 32)
