"""An autoencoder of diffusers with random weights."""

from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def autoencoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    place = tmp_path_factory.mktemp("autoencoder")
    diffusers.AutoencoderKL(
        **blocks, block_out_channels=(8, 8), norm_num_groups=4, latent_channels=2, scaling_factor=0.5
    ).save_pretrained(place)
    return place
