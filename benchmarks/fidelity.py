"""torch-fidelity's metrics of images in memory over a network that it does not know."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch_fidelity import FeatureExtractorBase, calculate_metrics, register_feature_extractor

VIEWS = ("pooled", "logits")


class Listed(torch.utils.data.Dataset):
    """Images as torch-fidelity takes them, one at a time."""

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Tensor:
        return self.pixels[index]


def register(name: str, network: Callable[[Tensor], tuple[Tensor, ...]]) -> None:
    """Makes an extractor of a network that gives pooled features of uint8 images, and perhaps logits."""

    class Extractor(FeatureExtractorBase):
        def __init__(self, name, features_list, **kwargs):
            super().__init__(name, features_list)

        @staticmethod
        def get_provided_features_list():
            return VIEWS

        @staticmethod
        def get_default_feature_layer_for_metric(metric):
            return "logits" if metric == "isc" else "pooled"

        @staticmethod
        def can_be_compiled():
            return False

        def forward(self, x):
            found = dict(zip(VIEWS, network(x), strict=False))
            return tuple(found[view] for view in self.features_list)

    register_feature_extractor(name, Extractor)


def judge(name: str, real: Tensor, drawn: Tensor, **asked: Any) -> dict[str, float]:
    """The metrics that are asked for, over a registered extractor, on the CPU and without a cache."""
    return calculate_metrics(
        input1=Listed(drawn),
        input2=Listed(real),
        feature_extractor=name,
        cuda=False,
        cache=False,
        verbose=False,
        save_cpu_ram=True,
        **asked,
    )
