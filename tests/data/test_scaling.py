"""Pixels become numbers in one place: every value survives the way there and back, and nothing wraps."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mezzotint.data import PixelScaling
from mezzotint.errors import ConfigError, DataError

ALL = torch.arange(256, dtype=torch.uint8)


def test_both_ends_are_exact():
    x = PixelScaling().to_float(torch.tensor([0, 255], dtype=torch.uint8))
    assert x.tolist() == [-1.0, 1.0]
    assert x.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("ends", [(-1.0, 1.0), (0.0, 1.0), (-0.5, 2.5), (0.0, 255.0)])
def test_all_256_values_come_back(ends, dtype):
    span = PixelScaling(*ends)
    assert torch.equal(span.to_uint8(span.to_float(ALL, dtype)), ALL)


def test_half_precision_pictures_come_back():
    """bfloat16 steps by 1/256 on [0.5, 1) and a grey value is 2/255 wide: at worst one off, at the ends none."""
    back = PixelScaling().to_uint8(PixelScaling().to_float(ALL).to(torch.bfloat16)).int()
    assert (back - ALL.int()).abs().max() <= 1
    assert back[0] == 0
    assert back[-1] == 255


@pytest.mark.parametrize(
    ("x", "grey"),
    [(1.01, 255), (-1.01, 0), (0.9999, 255), (-0.9999, 0), (1e6, 255), (-1e6, 0), (0.003, 128), (-0.003, 127)],
)
def test_rounds_and_clamps_and_never_wraps(x, grey):
    assert PixelScaling().to_uint8(torch.tensor([x])).item() == grey


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_no_grey_value_stands_for_is_an_error(bad):
    with pytest.raises(DataError, match="1 of 3 values are NaN or infinite"):
        PixelScaling().to_uint8(torch.tensor([0.0, bad, 1.0]))


def test_converting_twice_is_an_error():
    with pytest.raises(DataError, match="takes uint8 pixels"):
        PixelScaling().to_float(torch.zeros(3))
    with pytest.raises(DataError, match="takes floating-point numbers"):
        PixelScaling().to_uint8(ALL)


def test_an_empty_range_is_refused():
    with pytest.raises(ConfigError, match="low must be below high"):
        PixelScaling(1, 1)


def test_neither_direction_changes_its_input():
    x = torch.tensor([0.25, 2.0])
    PixelScaling().to_uint8(x)
    assert x.tolist() == [0.25, 2.0]


@given(st.floats(-3, 3))
def test_the_nearest_grey_value_is_taken(x):
    grey = PixelScaling().to_uint8(torch.tensor([x], dtype=torch.float64)).item()
    assert abs(grey - min(max((x + 1) * 127.5, 0), 255)) <= 0.5 + 1e-9
