"""The codec of latent diffusion: images as the latents of an autoencoder that was trained before."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mezzotint.data.codecs.base import Bounds, Codec
from mezzotint.data.codecs.pixels import PixelCodec
from mezzotint.data.scaling import PixelScaling
from mezzotint.errors import ConfigError, DataError

KIND = "AutoencoderKL"
CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"


@dataclass(frozen=True)
class AutoencoderCodec(Codec):
    """x = scaling (z - shift) for the mean z of an image's latents under a diffusers `AutoencoderKL`.

    The folder is read as data: its config is JSON and its weights are safetensors. The autoencoder is not trained.

    Source: Rombach et al. 2022, https://arxiv.org/abs/2112.10752

    Args:
        directory: of the autoencoder, with config.json and diffusion_pytorch_model.safetensors.
        scaling_factor, shift_factor: None takes those of its config; they give latents unit deviation and zero mean.
        batch: images that are encoded or decoded at a time.
    """

    directory: str
    scaling_factor: float | None = None
    shift_factor: float | None = None
    batch: int = 16

    dtype: ClassVar[torch.dtype] = torch.uint8  # type: ignore[assignment]
    bounds: ClassVar[Bounds | None] = None  # type: ignore[assignment]
    format: ClassVar[str] = PixelCodec.format  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ConfigError(f"batch={self.batch}: give at least one image.")
        if self.scaling_factor == 0:
            raise ConfigError("scaling_factor=0 would remove every latent: give another one.")

    @cached_property
    def config(self) -> dict[str, Any]:
        """The autoencoder's config. Raises ConfigError: there is none, or it is that of something else."""
        file = Path(self.directory).expanduser() / CONFIG
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{file} cannot be read ({error}): give the folder of a diffusers {KIND}.") from error
        if not isinstance(config, dict) or config.get("_class_name") != KIND:
            raise ConfigError(f"{file} is not the config of a diffusers {KIND}.")
        return config

    @property
    def scaling(self) -> float:
        """The factor on latents."""
        return self.scaling_factor or float(self.config.get("scaling_factor") or 1.0)

    @property
    def shift(self) -> float:
        """The latent that becomes 0."""
        return float((self.config.get("shift_factor") if self.shift_factor is None else self.shift_factor) or 0.0)

    @cached_property
    def model(self) -> Any:
        """The autoencoder, in evaluation mode. Raises ConfigError: diffusers or its weights are not there."""
        try:
            from diffusers import AutoencoderKL
        except ImportError as error:
            raise ConfigError("codec=autoencoder needs diffusers: pip install diffusers") from error
        folder = Path(self.directory).expanduser()
        if self.config and not (folder / WEIGHTS).is_file():
            raise ConfigError(f"{folder} has no {WEIGHTS}: weights in other formats are not read.")
        try:
            found = AutoencoderKL.from_pretrained(str(folder), use_safetensors=True, local_files_only=True)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            said = " ".join(str(error).split())
            raise ConfigError(f"{folder} is no readable {KIND} ({said})") from error
        model: nn.Module = found.float().eval().requires_grad_(False)
        return model

    def shape(self, stored: Sequence[int]) -> tuple[int, ...]:
        channels, factor = self.config.get("in_channels", 3), 2 ** (len(self.config["block_out_channels"]) - 1)
        if len(stored) != 3 or stored[0] != channels or any(size % factor for size in stored[1:]):
            raise ConfigError(
                f"the autoencoder takes images of {channels} channels whose sides are multiples of {factor}, and "
                f"data.shape={list(stored)}: choose another data.shape."
            )
        return self.config["latent_channels"], *(size // factor for size in stored[1:])

    def is_image(self, stored: Sequence[int]) -> bool:
        return PixelCodec().is_image(stored)

    def encode(self, stored: Tensor) -> Tensor:
        model = self.model.to(stored.device)
        with torch.no_grad(), torch.autocast(stored.device.type, enabled=False):
            parts = PixelScaling().to_float(stored).split(self.batch)
            latents = torch.cat([model.encode(part).latent_dist.mode() for part in parts])
        return (latents - self.shift) * self.scaling

    def decode(self, x: Tensor) -> Tensor:
        if not x.is_floating_point():
            raise DataError(f"AutoencoderCodec decodes floating-point numbers, and was given {x.dtype}.")
        model, latents = self.model.to(x.device), x.float() / self.scaling + self.shift
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            parts = [PixelScaling().to_uint8(model.decode(part).sample) for part in latents.split(self.batch)]
        return torch.cat(parts)
