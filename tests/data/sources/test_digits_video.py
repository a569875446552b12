"""Digits that move: clips of the digits' own pixels along straight paths that the edges reflect."""

import numpy as np
import pytest
import torch

from mezzotint.data import Digits, DigitsVideo
from mezzotint.data.sources.digits_video import reflected
from mezzotint.errors import DataError


def test_every_frame_holds_the_digit_and_nothing_else():
    clips, digits = DigitsVideo().split("all"), Digits().split("all")
    assert clips.pixels.shape == (4 * 1797, 1, 8, 16, 16)
    assert clips.labels.tolist() == digits.labels.repeat_interleave(4).tolist()
    ink = digits.pixels.long().sum((1, 2, 3)).repeat_interleave(4)
    assert torch.equal(clips.pixels.long().sum((1, 3, 4)), ink[:, None].expand(-1, 8))
    corners = DigitsVideo().paths(torch.arange(4 * 1797))
    assert corners.min() == 0
    assert corners.max() == 8
    for clip in (0, 1, 4000):
        for frame in range(8):
            top, left = corners[clip, frame]
            window = clips.pixels[clip, 0, frame, top : top + 8, left : left + 8]
            assert torch.equal(window, digits.pixels[clip // 4, 0])


def test_a_digit_keeps_its_speed_and_turns_at_the_edges():
    corners = DigitsVideo().paths(torch.arange(4 * 1797))
    speed = np.abs(np.diff(corners, axis=1))
    assert speed.max() == 2
    assert (speed.sum((1, 2)) > 0).all()
    slow = speed < speed.max(1, keepdims=True)  # 2 pixels a frame that turn 1 pixel from an edge
    assert np.isin(corners[:, 1:][slow], (0, 1, 7, 8)).all()
    assert slow.mean() < 0.1
    ball = reflected(np.arange(-3, 8)[:, None] * np.array([1, 1]), np.array([2, 0]))
    assert ball.T.tolist() == [[1, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1], [0] * 11]


def test_velocities_and_places_are_even():
    corners = DigitsVideo().paths(torch.arange(4 * 1797))
    counts = np.bincount(corners[:, 0, 0], minlength=9)
    assert np.abs(counts - 4 * 1797 / 9).max() < 4 * (4 * 1797 / 9) ** 0.5


def test_splits_share_no_digit_and_never_change():
    train, test = (DigitsVideo().split(name) for name in ("train", "test"))
    assert (len(train), len(test)) == (6000, 1188)
    assert torch.equal(test.labels, Digits().split("test").labels.repeat_interleave(4))
    everything = torch.cat([train.pixels, test.pixels]).flatten(1).sum(1, dtype=torch.float64).sort().values
    assert torch.equal(
        everything, DigitsVideo().split("all").pixels.flatten(1).sum(1, dtype=torch.float64).sort().values
    )
    assert test.digest()[:16] == "72f1012a7f30fef8"


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (1, 5, 9, 30), (1, 3, 8, 11)])
def test_frames_of_another_size(shape):
    assert DigitsVideo(shape=shape, clips=1, classes=0).split("test").pixels.shape == (297, *shape)


@pytest.mark.parametrize(
    "given", [{"shape": (3, 8, 16, 16)}, {"shape": (1, 8, 16, 7)}, {"clips": 0}, {"shape": (1, 16, 16)}]
)
def test_what_cannot_be_is_named(given):
    with pytest.raises(DataError, match=r"frames|clips=0"):
        DigitsVideo(**given)
