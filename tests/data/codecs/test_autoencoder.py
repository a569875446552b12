"""Latents of a diffusers AutoencoderKL with random weights: its own numbers, its shape, and what is refused."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from mezzotint.data import AutoencoderCodec, PixelCodec, PixelScaling
from mezzotint.data.codecs.autoencoder import AutoencoderConfig
from mezzotint.errors import ConfigError, DataError

pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    model = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        latent_channels=2,
        scaling_factor=0.5,
        shift_factor=0.25,
    )
    place = tmp_path_factory.mktemp("autoencoder")
    model.save_pretrained(place)
    return place


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randint(0, 256, (5, 3, 8, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_latents_are_those_of_diffusers(folder, pixels):
    from diffusers import AutoencoderKL

    model = AutoencoderKL.from_pretrained(folder).eval()
    codec = AutoencoderCodec(str(folder), batch=2)
    with torch.no_grad():
        z = model.encode(PixelScaling().to_float(pixels)).latent_dist.mode()
        images = PixelScaling().to_uint8(model.decode(z).sample)
    x = codec.encode(pixels)
    assert x.shape[1:] == codec.shape((3, 8, 12)) == (2, 4, 6)
    torch.testing.assert_close(x, (z - 0.25) * 0.5)
    off = (codec.decode(x).int() - images.int()).abs()
    assert off.max() <= 1
    assert codec.bounds is None
    assert codec.is_image((3, 8, 12))


def test_stated_factors_replace_those_of_the_config(folder, pixels):
    codec = AutoencoderCodec(str(folder), scaling_factor=2.0, shift_factor=0.0)
    torch.testing.assert_close(codec.encode(pixels), AutoencoderCodec(str(folder)).encode(pixels) * 4 + 0.5)


def test_nothing_of_it_is_trained_or_saved(folder):
    codec = AutoencoderCodec(str(folder))
    assert not codec.model.training
    assert not any(parameter.requires_grad for parameter in codec.model.parameters())
    assert not isinstance(codec, nn.Module)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 8), (3, 8)], ids=str)
def test_images_that_it_does_not_take_are_refused(folder, shape):
    with pytest.raises(ConfigError, match=r"images of 3 channels whose sides are multiples of 2"):
        AutoencoderCodec(str(folder)).shape(shape)


def test_folders_that_are_no_autoencoder_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot be read.*diffusers AutoencoderKL"):
        AutoencoderCodec(str(tmp_path)).shape((3, 8, 8))
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel"}))
    with pytest.raises(ConfigError, match="is not the config"):
        AutoencoderCodec(str(tmp_path)).shape((3, 8, 8))
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKL", "block_out_channels": [8]}))
    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(ConfigError, match="weights in other formats are not read"):
        _ = AutoencoderCodec(str(tmp_path)).model
    (tmp_path / "diffusion_pytorch_model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ConfigError, match="is no readable AutoencoderKL"):
        _ = AutoencoderCodec(str(tmp_path)).model


def test_numbers_that_are_no_floats_are_refused(folder, pixels):
    with pytest.raises(DataError, match="decodes floating-point"):
        AutoencoderCodec(str(folder)).decode(pixels)


class Identity(nn.Module):
    """An autoencoder that does nothing."""

    def encode(self, x: torch.Tensor) -> "Identity":
        self.x = x
        return self

    @property
    def latent_dist(self) -> "Identity":
        return self

    def mode(self) -> torch.Tensor:
        return self.x

    def decode(self, x: torch.Tensor) -> "Identity":
        self.sample = x
        return self


def test_the_identity_autoencoder_is_the_codec_of_pixels_bit_for_bit(pixels):
    codec = AutoencoderCodec("unused", batch=2)
    codec.__dict__.update(model=Identity(), config=AutoencoderConfig(3, 3, 1, 1.0, 0.0))
    x = codec.encode(pixels)
    assert torch.equal(x, PixelCodec().encode(pixels))
    assert torch.equal(codec.decode(1.2 * x), PixelCodec().decode(1.2 * x))
