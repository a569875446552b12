"""A small data set with labels and a condition, and an autoencoder that does nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mezzotint.data import LatentCodec, PixelCodec
from mezzotint.data.dataset import ArrayDataset


@dataclass(frozen=True, kw_only=True)
class Noise(ArrayDataset):
    """Random images: 40 for training and 9 held out, with the condition `age`."""

    shape: tuple[int, int, int] = (3, 8, 12)
    classes: int = 2
    seed: int = 0

    def read(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        count = {"train": 40, "test": 9, "all": 49}[split]
        random = np.random.default_rng([self.seed, count])
        return random.integers(0, 256, (count, *self.shape), dtype=np.uint8), np.arange(count) % 2

    def stored_conditions(self, split: str, names: tuple[str, ...]) -> Mapping[str, np.ndarray]:
        return {name: np.arange(len(self.split(split)), dtype=np.float32) for name in names}


@dataclass(frozen=True)
class Identity(LatentCodec):
    """Latents that are the pixels, without variance."""

    name: str = "identity"

    @property
    def channels(self) -> int:
        return 3

    @property
    def fingerprint(self) -> str:
        return self.name

    def moments(self, images: Tensor) -> Tensor:
        x = PixelCodec().encode(images)
        return torch.cat([x, torch.full_like(x, -200.0)], 1)

    def reconstruct(self, z: Tensor) -> Tensor:
        return PixelCodec().decode(z)
