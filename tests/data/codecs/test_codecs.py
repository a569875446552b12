"""What goes through a codec comes back; what cannot be data is refused."""

import numpy as np
import pytest
import torch

from mezzotint.data import PixelCodec, PixelScaling, StandardizeCodec
from mezzotint.errors import ConfigError, DataError

MEAN, STD = (0.0, 280.0, -3.0e-5), (1.0, 15.0, 2.0e-5)
CODEC = StandardizeCodec(MEAN, STD)
INTEGERS = {"uint8": torch.uint8, "int16": torch.int16, "uint16": torch.uint16}


def values(size: tuple[int, ...], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(500, 3, *size, generator=random, dtype=torch.float64)
    form = (-1, *[1] * len(size))
    return (x * torch.tensor(STD).view(form).double() + torch.tensor(MEAN).view(form).double()).to(dtype)


@pytest.mark.parametrize("size", [(64,), (5, 7), (3, 4, 5)], ids=str)
def test_floats_come_back_within_one_unit_in_the_last_place(size):
    stored = values(size)
    x = CODEC.encode(stored)
    assert x.dtype == torch.float32
    moments = x.transpose(0, 1).flatten(1).double()
    assert moments.mean(1).abs().max() < 0.04
    assert (moments.std(1) - 1).abs().max() < 0.02
    back = CODEC.decode(x)
    mean = torch.tensor(MEAN).view(-1, *[1] * len(size))
    scale = torch.maximum(stored.abs(), (stored - mean).abs())
    ulp = torch.from_numpy(np.spacing(scale.numpy()))
    assert ((back - stored).abs() <= ulp).all()


def test_without_a_mean_the_unit_is_that_of_the_value():
    stored = values((64,))[:, :1]
    back = StandardizeCodec((0.0,), (0.37,)).decode(StandardizeCodec((0.0,), (0.37,)).encode(stored))
    assert ((back - stored).abs() <= torch.from_numpy(np.spacing(stored.abs().numpy()))).all()


def test_half_precision_comes_back_exactly():
    codec = StandardizeCodec((1.0,), (2.0,), "float16")
    stored = torch.linspace(-8, 8, 4001).to(torch.float16).view(1, 1, -1)
    assert torch.equal(codec.decode(codec.encode(stored)), stored)


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_come_back_exactly_and_stay_in_their_range(name):
    limits = torch.iinfo(INTEGERS[name])
    stored = torch.arange(limits.min, limits.max + 1).to(INTEGERS[name]).view(1, 1, -1)
    codec = StandardizeCodec((limits.max / 2,), (limits.max / 4,), name)
    assert torch.equal(codec.decode(codec.encode(stored)), stored)
    ends = codec.decode(torch.tensor([[[-1e6, 1e6]]]))
    assert ends.flatten().tolist() == [limits.min, limits.max]


def test_only_bounded_data_are_clipped():
    x = torch.tensor([[[-9.0, 9.0]]])
    assert StandardizeCodec((1.0,), (2.0,)).decode(x).flatten().tolist() == [-17.0, 19.0]
    bounded = StandardizeCodec((1.0,), (2.0,), low=0.0, high=5.0)
    assert bounded.decode(x).flatten().tolist() == [0.0, 5.0]
    assert bounded.bounds == (-0.5, 2.0)
    assert StandardizeCodec((1.0,), (2.0,)).bounds is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_samples_that_are_no_numbers_are_refused(bad):
    with pytest.raises(DataError, match=r"1 of 2 values are NaN or infinite"):
        StandardizeCodec((0.0,), (1.0,)).decode(torch.tensor([[[bad, 1.0]]]))


def test_half_precision_that_overflows_is_refused():
    with pytest.raises(DataError, match="1 of 1 samples' values do not fit float16, which ends at 65504: store"):
        StandardizeCodec((0.0,), (1e4,), "float16").decode(torch.tensor([[[10.0]]]))


def test_other_types_and_channels_are_refused():
    with pytest.raises(DataError, match="encodes float32, and was given float64"):
        CODEC.encode(values((4,), torch.float64))
    with pytest.raises(ConfigError, match=r"mean and std of 3 channels, and the data have 2"):
        CODEC.shape((2, 64))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (((0.0,), (1.0, 2.0)), "mean has 1 numbers and std 2"),
        (((0.0,), (0.0,)), "above 0"),
        (((0.0,), (1.0,), "float32", 0.0), "both bounds"),
        (((0.0,), (1.0,), "float32", 1.0, 0.0), "low must be below high"),
        (((0.0,), (2e4,), "float16"), "4 deviations from the mean reach 8e\\+04, and float16 ends at 65504"),
    ],
)
def test_moments_that_cannot_be_are_refused(arguments, said):
    with pytest.raises(ConfigError, match=said):
        StandardizeCodec(*arguments)


def test_the_codec_of_pixels_is_their_scaling():
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    codec = PixelCodec()
    x = codec.encode(pixels)
    assert torch.equal(x, PixelScaling().to_float(pixels))
    assert torch.equal(codec.decode(x * 1.3), PixelScaling().to_uint8(x * 1.3))
    assert codec.bounds == (-1.0, 1.0)
    assert codec.is_image((3, 8, 8))
    assert not codec.is_image((3, 8))
    assert not codec.is_image((5, 8, 8))
