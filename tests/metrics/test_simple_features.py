"""Features without weights: their closed forms, in every rank, and the metrics over them."""

import numpy as np
import pytest
import torch

from mezzotint.data import PixelCodec, StandardizeCodec
from mezzotint.errors import ConfigError
from mezzotint.metrics import AutoExtractor, FrechetDistance, InceptionV3, ModuleFeatures, RawFeatures, SpectralFeatures

CODEC = StandardizeCodec((5.0, -1.0), (2.0, 0.1))
SIZES = ((12,), (6, 8), (4, 6, 5))


def made(size: tuple[int, ...], count: int = 20) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    form = (2, *[1] * len(size))
    x = torch.randn(count, 2, *size, generator=random)
    return x * torch.tensor(CODEC.std).view(form) + torch.tensor(CODEC.mean).view(form)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_raw_features_are_the_standardised_values(size):
    extractor = RawFeatures().resolve((2, *size), CODEC)
    stored = made(size)
    assert torch.equal(extractor(stored), CODEC.encode(stored).flatten(1))
    assert extractor.features == 2 * np.prod(size)


def test_raw_features_are_averaged_where_there_are_many():
    extractor = RawFeatures(most=8).resolve((2, 4, 4), CODEC)
    stored = made((4, 4))
    blocks = CODEC.encode(stored).unflatten(3, (2, 2)).unflatten(2, (2, 2)).mean((3, 5))
    torch.testing.assert_close(extractor(stored), blocks.flatten(1))
    assert extractor.features == 8


@pytest.mark.parametrize("size", [(64,), (32, 32), (16, 16, 16)], ids=str)
def test_a_wave_has_its_power_at_its_frequency(size):
    codec = StandardizeCodec((0.0,), (1.0,))
    extractor = SpectralFeatures().resolve((1, *size), codec)
    n = size[-1]
    wave = torch.sin(2 * torch.pi * 4 * torch.arange(n) / n).expand(1, 1, *size)
    found = extractor(wave).exp()[0]
    assert found.argmax() == round(2 * 4 / n * (extractor.features - 1))
    assert extractor.features == n // 2 + 1


def test_white_noise_has_the_same_power_everywhere():
    noise = torch.randn(400, 1, 32, generator=torch.Generator().manual_seed(0))
    extractor = SpectralFeatures().resolve((1, 32), StandardizeCodec((0.0,), (1.0,)))
    assert (extractor(noise).double().exp().mean(0) - 1).abs().max() < 0.3


def test_a_module_of_the_users_own():
    module = torch.nn.Sequential(torch.nn.Conv1d(2, 3, 3), torch.nn.ReLU())
    extractor = ModuleFeatures(module=module).resolve((2, 12), CODEC)
    stored = made((12,))
    torch.testing.assert_close(extractor(stored), module(CODEC.encode(stored)).detach().flatten(1))
    other = torch.nn.Sequential(torch.nn.Conv1d(2, 3, 3), torch.nn.ReLU())
    assert extractor.digest != ModuleFeatures(module=other).resolve((2, 12), CODEC).digest


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint16", "int16"])
def test_the_distance_of_a_set_from_itself_is_zero_in_every_type(dtype):
    codec = StandardizeCodec((100.0,), (20.0,), dtype)
    stored = (100 + 20 * torch.randn(50, 1, 9, generator=torch.Generator().manual_seed(0))).to(codec.dtype)
    metric = FrechetDistance(RawFeatures().resolve((1, 9), codec))
    metric.update(stored, real=True)
    metric.update(stored, real=False)
    assert abs(float(metric.compute())) < 1e-9


def test_the_usual_extractor_of_other_data_is_raw_and_image_networks_refuse_them():
    assert isinstance(AutoExtractor().resolve((2, 12), CODEC), RawFeatures)
    assert isinstance(AutoExtractor().resolve((1, 4, 4, 4), PixelCodec()), RawFeatures)
    with pytest.raises(ConfigError, match="extractor=raw or spectral"):
        InceptionV3().resolve((3, 32, 32), StandardizeCodec((0.0,) * 3, (1.0,) * 3))
    with pytest.raises(ConfigError, match="1 to 3 axes"):
        RawFeatures().resolve((3,), CODEC)
