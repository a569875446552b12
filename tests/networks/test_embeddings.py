"""Sinusoids: the layout of DDPM, by closed form."""

import math

import pytest
import torch

from mezzotint.networks.embeddings import TimeEmbedding, sinusoidal


def test_sines_then_cosines_with_divisor_half_minus_one():
    """Width 8: frequencies 1, 10000^(-1/3), 10000^(-2/3), 1/10000, sines first."""
    time = 7.0
    angles = [time * 10000 ** (-i / 3) for i in range(4)]
    expected = torch.tensor([[math.sin(a) for a in angles] + [math.cos(a) for a in angles]])
    torch.testing.assert_close(sinusoidal(torch.tensor([time]), 8), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64], ids=str)
def test_always_float32(dtype):
    waves = sinusoidal(torch.tensor([0, 999], dtype=dtype), 16)
    assert waves.dtype == torch.float32
    assert waves.shape == (2, 16)


def test_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        waves = sinusoidal(torch.tensor([999.0]), 16)
    torch.testing.assert_close(waves, sinusoidal(torch.tensor([999.0]), 16), rtol=0, atol=0)


@pytest.mark.parametrize("width", [2, 7])
def test_a_width_that_cannot_be_split_is_refused(width):
    with pytest.raises(ValueError, match="even and at least 4"):
        TimeEmbedding(width, 16)
