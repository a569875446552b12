"""A small classifier of 8 x 8 digits as extractor, trained on the same kind of images that it evaluates."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mezzotint.errors import ConfigError
from mezzotint.metrics.extractors.base import Extractor, sha256
from mezzotint.metrics.extractors.pretrained import check_intact

WEIGHTS = Path(__file__).parents[1] / "assets" / "digits.safetensors"
SHA256 = "9f123666c645740db5838d548a5f8bac477ed498867d403037ecc1e91ec26c00"  # of that file


class DigitsNetwork(nn.Sequential):
    """8 x 8 grey images in [-1, 1] -> ten logits; the layers up to `head` give 64 features.

    GELU rather than ReLU before the features: a feature that is 0 for every digit would make all covariances singular.
    """

    def __init__(self) -> None:
        super().__init__(
            OrderedDict(
                features=nn.Sequential(
                    nn.Conv2d(1, 24, 3, padding=1),
                    nn.GELU(),
                    nn.Conv2d(24, 48, 3, padding=1),
                    nn.GELU(),
                    nn.MaxPool2d(2),
                    nn.Conv2d(48, 64, 3, padding=1),
                    nn.GELU(),
                    nn.MaxPool2d(2),
                    nn.Flatten(),
                    nn.Linear(64 * 2 * 2, 64),
                    nn.GELU(),
                ),
                head=nn.Linear(64, 10),
            )
        )


@dataclass(frozen=True)
class DigitsClassifier(Extractor):
    """64 features of a small classifier of scikit-learn's digits, trained by scripts/train_digits_classifier.py.

    It classifies all 297 held-out test images correctly. Distances over it are called fd_digits and kd_digits.
    """

    name: ClassVar[str] = "digits"
    widths: ClassVar[dict[str, int]] = {"pooled": 64, "logits": 10}
    batch: ClassVar[int] = 256
    batch_on_accelerator: ClassVar[int] = 2048
    preprocessing: ClassVar[str] = "none (8x8 grey, x / 127.5 - 1)"

    @cached_property
    def digest(self) -> str:
        return sha256(WEIGHTS)

    @cached_property
    def network(self) -> DigitsNetwork:
        network = DigitsNetwork()
        check_intact(WEIGHTS, SHA256)
        network.load_state_dict(load_file(WEIGHTS))
        return network.eval().requires_grad_(False)

    def validate(self, shape: tuple[int, ...]) -> None:
        if tuple(shape) != (1, 8, 8):
            raise ConfigError(
                f"extractor=digits takes grey images of 8 x 8, and the data has shape {tuple(shape)}. "
                "Use extractor=inception or extractor=effnet."
            )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        if images.shape[1:] != (1, 8, 8):
            raise ValueError(f"the digits extractor takes images (B, 1, 8, 8), not {tuple(images.shape)}. Resize them.")
        pooled = self.network.features(scaled(images))
        return {"pooled": pooled, "logits": self.network.head(pooled)}


def scaled(images: Tensor) -> Tensor:
    """Scale uint8 images to float32 in [-1, 1]."""
    return images.to(torch.float32) / 127.5 - 1
