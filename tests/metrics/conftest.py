"""Real images, a small extractor, and a file of random Inception weights."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from mezzotint.data import Digits
from mezzotint.metrics import Extractor


@dataclass(frozen=True)
class Projection(Extractor):
    """Fixed random projections of 8 x 8 grey images: features of any width."""

    width: int = 6
    batch: ClassVar[int] = 64
    preprocessing: ClassVar[str] = "none"
    name: ClassVar[str] = "projection"

    @property
    def widths(self) -> dict[str, int]:
        return {"pooled": self.width, "logits": 10}

    @property
    def digest(self) -> str:
        return f"{self.width:064d}"

    @cached_property
    def network(self) -> nn.Linear:
        network = nn.Linear(64, self.width + 10)
        generator = torch.Generator().manual_seed(self.width)
        nn.init.normal_(network.weight, std=0.2, generator=generator)
        nn.init.zeros_(network.bias)
        return network.eval()

    def validate(self, shape: tuple[int, int, int]) -> None:
        assert shape == (1, 8, 8)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        pooled, logits = self.network(images.flatten(1) / 127.5 - 1).split([self.width, 10], dim=1)
        return {"pooled": pooled, "logits": logits}


@pytest.fixture(scope="session")
def projection():
    return Projection


@pytest.fixture(scope="session")
def digits():
    return Digits().split("all")


@pytest.fixture(scope="session")
def digit_pixels(digits):
    return digits.batch(torch.arange(len(digits)))[0]


@pytest.fixture(scope="session")
def inception_file(tmp_path_factory):
    """A state dict of torch-fidelity's Inception with random weights whose signal survives all layers."""
    from torch_fidelity import feature_extractor_inceptionv3 as source

    class Blank(source.FeatureExtractorInceptionV3):
        def load_state_dict(self, state, *args, **kwargs):
            return None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "load_state_dict_from_url", lambda *args, **kwargs: {})
        network = Blank("inception-v3-compat", ["2048"])
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, generator=generator)
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(network.state_dict(), path)
    return path


def rows(count: int, width: int, seed: int, shift: float = 0.0) -> Tensor:
    """Features of a unit normal around `shift`."""
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) + shift


def filled(metric, real: Tensor, drawn: Tensor):
    """The metric, told of both sets of features."""
    metric.update_features(real, real=True)
    metric.update_features(drawn, real=False)
    return metric
