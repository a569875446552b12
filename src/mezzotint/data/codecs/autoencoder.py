"""The codec of latent diffusion: images as the latents of an autoencoder that was trained before."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from mezzotint.data.codecs.latent import LatentCodec
from mezzotint.data.scaling import PixelScaling
from mezzotint.errors import ConfigError
from mezzotint.networks import Autoencoder
from mezzotint.plain_data import NUMBER_OR_NONE, lookup, mismatch

KIND = "AutoencoderKL"
CONFIG, WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"
OF_RUN = "autoencoder"  # the folder in the run of an autoencoder of our own
LAYOUT = {"in_channels?": int, "latent_channels?": int, "block_out_channels?": [int]}
LAYOUT |= {"scaling_factor?": NUMBER_OR_NONE, "shift_factor?": NUMBER_OR_NONE}


@dataclass(frozen=True)
class AutoencoderConfig:
    """The part of a diffusers `AutoencoderKL`'s config that a codec needs.

    Args:
        in_channels: of its images.
        latent_channels: of its latents.
        factor: by which the sides of a latent are smaller than those of the image.
        scaling_factor, shift_factor: give latents unit deviation and zero mean.
    """

    in_channels: int
    latent_channels: int
    factor: int
    scaling_factor: float
    shift_factor: float

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read a config.json. Raises ConfigError: it cannot be read, or it is that of something else."""
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ConfigError(
                f"{file} cannot be read, it does not exist: give codec.directory=DIR of a diffusers {KIND}."
            ) from error
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"{file} cannot be read ({error}): give the folder of a diffusers {KIND}.") from error
        if lookup(found, "_class_name") != KIND:
            raise ConfigError(f"{file} is not the config of a diffusers {KIND}.")
        if why := mismatch(found, LAYOUT):
            raise ConfigError(f"{file} is not a config of a diffusers {KIND}: {why}.")
        return cls(
            found.get("in_channels", 3),
            found.get("latent_channels", 4),  # where it says nothing, the numbers are those of diffusers
            2 ** (len(found.get("block_out_channels", [64])) - 1),
            float(found.get("scaling_factor") or 1.0),
            float(found.get("shift_factor") or 0.0),
        )


@dataclass(frozen=True)
class AutoencoderCodec(LatentCodec):
    """x = scaling (z - shift) for latents z of an image under a diffusers `AutoencoderKL`, or one that a run trained.

    Its folder is read as data: the config is JSON and the weights are safetensors. The autoencoder is not trained.

    Source: Rombach et al. 2022, https://arxiv.org/abs/2112.10752

    Args:
        directory: of the autoencoder, with config.json and diffusion_pytorch_model.safetensors.
        run: the finished run of an autoencoder, such as experiment=emoji_autoencoder, instead of a directory.
        scaling_factor, shift_factor: None takes those of its config; they give latents unit deviation and zero mean.
    """

    directory: str | None = None
    run: str | None = None
    scaling_factor: float | None = None
    shift_factor: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.directory is None) == (self.run is None):
            raise ConfigError(
                "give codec.directory, the folder of an autoencoder, or codec.run, a run that trained one."
            )
        if self.scaling_factor == 0:
            raise ConfigError("scaling_factor=0 would remove every latent: give another one.")

    @cached_property
    def config(self) -> AutoencoderConfig:
        """The autoencoder's config. Raises ConfigError: there is none, or it is that of something else."""
        if self.run is not None and not (self.folder / CONFIG).is_file():
            raise ConfigError(
                f"{self.run} has no {OF_RUN}/{CONFIG}, which an autoencoder writes when it is finished: train one, "
                "such as experiment=emoji_autoencoder, or go on with `mezzotint train run=`."
            )
        return AutoencoderConfig.read(self.folder / CONFIG)

    @property
    def folder(self) -> Path:
        """The folder of config and weights."""
        return Path(self.directory or "").expanduser() if self.run is None else Path(self.run).expanduser() / OF_RUN

    @property
    def scaling(self) -> float:
        """The factor on latents."""
        return self.scaling_factor or self.config.scaling_factor

    @property
    def shift(self) -> float:
        """The latent that becomes 0."""
        return self.config.shift_factor if self.shift_factor is None else self.shift_factor

    @cached_property
    def model(self) -> Any:
        """The autoencoder, in evaluation mode. Raises ConfigError: diffusers or its weights are not there."""
        folder = self.folder
        if self.config and not (folder / WEIGHTS).is_file():
            raise ConfigError(f"{folder} has no {WEIGHTS}: weights in other formats are not read.")
        try:
            found = read_diffusers(folder) if self.run is None else read_own(folder)
        except ImportError as error:
            raise ConfigError("codec=autoencoder needs diffusers: pip install diffusers") from error
        except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
            said = " ".join(str(error).split())
            raise ConfigError(f"{folder} is no readable {KIND} ({said})") from error
        return found.float().eval().requires_grad_(False)

    def shape(self, stored: Sequence[int]) -> tuple[int, ...]:
        channels, factor = self.config.in_channels, self.config.factor
        if len(stored) != 3 or stored[0] != channels or any(size % factor for size in stored[1:]):
            raise ConfigError(
                f"the autoencoder takes images of {channels} channels whose sides are multiples of {factor}, and "
                f"data.shape={list(stored)}: choose another data.shape."
            )
        return self.config.latent_channels, *(size // factor for size in stored[1:])

    @property
    def channels(self) -> int:
        return self.config.latent_channels

    @cached_property
    def fingerprint(self) -> str:
        folder = self.folder
        config = self.config and json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        known = {key: value for key, value in config.items() if not key.startswith("_")}
        hashed = hashlib.sha256(json.dumps(known, sort_keys=True).encode())
        file = folder / WEIGHTS
        try:
            with file.open("rb") as opened:
                while part := opened.read(1 << 24):
                    hashed.update(part)
        except OSError as error:
            raise ConfigError(f"{file} cannot be read ({error.strerror}): give the folder of a {KIND}.") from error
        return hashed.hexdigest()

    def moments(self, images: Tensor) -> Tensor:
        return torch.cat([torch.cat([z.mean, z.logvar], 1) for z in self._posteriors(images)])

    def means(self, stored: Tensor) -> Tensor:
        if self.are_moments(stored):
            return super().means(stored)
        return torch.cat([z.mode() for z in self._posteriors(stored)])

    def reconstruct(self, z: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([PixelScaling().to_uint8(self.pixels(part)) for part in z.split(self.batch)])

    def pixels(self, z: Tensor) -> Tensor:
        model = self.model.to(z.device)
        with torch.autocast(z.device.type, enabled=False):
            return torch.cat([model.decode(part).sample for part in z.split(self.batch)])

    def _posteriors(self, images: Tensor) -> Iterator[Any]:
        """Yield the distribution of the latents of each part of the images."""
        model = self.model.to(images.device)
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            for part in PixelScaling().to_float(images).split(self.batch):
                yield model.encode(part).latent_dist


@contextmanager
def two_files(folder: Path) -> Iterator[str]:
    """Yield a folder with the config and the weights alone: an index beside them would lead to files of other kinds."""
    with TemporaryDirectory() as place:
        for name in (CONFIG, WEIGHTS):
            (Path(place) / name).symlink_to((folder / name).resolve())
        yield place


def read_diffusers(folder: Path) -> nn.Module:
    """Read an autoencoder by diffusers. Raises ImportError: it is not installed."""
    from diffusers import AutoencoderKL

    with two_files(folder) as place:
        found: nn.Module = AutoencoderKL.from_pretrained(place, use_safetensors=True, local_files_only=True)
    return found


def read_own(folder: Path) -> nn.Module:
    """Read an autoencoder that `AutoencoderExport` wrote."""
    from safetensors.torch import load_file

    found = Autoencoder.of_description(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
    found.load_state_dict(load_file(folder / WEIGHTS))
    return found
