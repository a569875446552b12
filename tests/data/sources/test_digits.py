"""The digits are scikit-learn's, in fixed parts."""

import pytest
import torch

from mezzotint.data import Digits
from mezzotint.errors import DataError


def test_all_are_scikit_learns_in_their_order():
    from sklearn.datasets import load_digits

    ink, labels = load_digits(return_X_y=True)
    everything = Digits().split("all")
    pixels, mine = everything.batch(torch.arange(1797))
    expected = torch.from_numpy(ink).mul(255 / 16).round().to(torch.uint8).view(-1, 1, 8, 8)
    assert torch.equal(pixels, expected)
    assert mine.tolist() == labels.tolist()


def test_the_parts_are_disjoint_complete_and_balanced():
    train, test = Digits().split("train"), Digits().split("test")
    assert (len(train), len(test)) == (1500, 297)
    share = test.labels.bincount() / Digits().split("all").labels.bincount()
    assert (share - 297 / 1797).abs().max() < 0.5 / 170
    rows = torch.cat([train.pixels, test.pixels]).flatten(1)
    assert sorted(rows.tolist()) == sorted(Digits().split("all").pixels.flatten(1).tolist())


def test_the_split_never_changes():
    """Numbers that are published rest on this split."""
    assert Digits().split("test").digest()[:16] == "b9a4804b9d017919"


def test_labels_can_be_left_out():
    assert Digits(classes=0).split("train").labels is None
    assert Digits(classes=0).split("train").digest() != Digits().split("train").digest()


def test_a_wrong_shape_is_named():
    with pytest.raises(
        DataError, match=r"data.shape=\[1, 16, 16\], but the images of Digits are \[1, 8, 8\].*\[1,8,8\]"
    ):
        Digits(shape=(1, 16, 16)).split("train")


def test_a_wrong_number_of_classes_is_named():
    with pytest.raises(DataError, match=r"classes=12, but Digits has 10 classes"):
        Digits(classes=12)


def test_an_unknown_split_is_named():
    with pytest.raises(DataError, match="no split 'val': datasets have train, test, all"):
        Digits().split("val")


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 0), (1, 8, 8, 8), (1, 8.0, 8)])
def test_what_is_no_image_is_named(shape):
    with pytest.raises(DataError, match="is not an image shape: give"):
        Digits(shape=shape)
