"""A network of this package as a component of a pipeline of diffusers, which this module imports."""

from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import Tensor

from mezzotint.errors import ConfigError
from mezzotint.instantiate.build import build, check_part
from mezzotint.instantiate.trust import Trust, trusting


class PipelineNetwork(ModelMixin, ConfigMixin):
    """The network of a config node, called as a UNet2DModel is.

    Args:
        node: `_target_` and its arguments, which may name classes of this package alone.
        in_channels, sample_size: what a pipeline asks for.

    Raises:
        ConfigError: the node names something else.
    """

    @register_to_config
    def __init__(self, node: dict[str, Any], in_channels: int, sample_size: list[int]) -> None:
        super().__init__()
        with trusting(Trust(strict=True)):
            if problems := check_part(node, "network"):
                raise ConfigError("; ".join(problems))
            self.network = build(node, "network")

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        class_labels: Tensor | None = None,
        return_dict: bool = True,
    ) -> UNet2DOutput | tuple[Tensor]:
        """Map a sample (B, C, H, W) at a timestep, a number or (B,), to the prediction; without labels to no class."""
        time = torch.as_tensor(timestep, dtype=torch.float32, device=sample.device).expand(len(sample))
        given = {} if class_labels is None else {"label": class_labels}
        out = self.network(sample, time, **given)
        return UNet2DOutput(sample=out) if return_dict else (out,)
