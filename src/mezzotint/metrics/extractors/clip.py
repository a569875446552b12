"""CLIP's image encoder: features aligned with captions, for CMMD."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from mezzotint.errors import ConfigError
from mezzotint.metrics.extractors.base import Extractor, check_colours, sha256, standardised, to_rgb
from mezzotint.metrics.extractors.pretrained import fill, read_state, require

URL = "https://huggingface.co/openai/clip-vit-large-patch14-336/resolve/main/pytorch_model.bin"
SOURCE = (
    f"the state dict of a CLIP ViT, such as {URL}; OpenAI's own file is a program, and its numbers come out of it by "
    "torch.save(torch.jit.load('ViT-L-14-336px.pt', 'cpu').state_dict(), 'clip.pth')"
)
MEAN = (0.48145466, 0.4578275, 0.40821073)  # of pixels in [0, 1]
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
NAMES = {  # of the parts of the image tower: Hugging Face's to OpenAI's
    "embeddings.class_embedding": "class_embedding",
    "embeddings.patch_embedding.": "conv1.",
    "embeddings.position_embedding.weight": "positional_embedding",
    "pre_layrnorm.": "ln_pre.",
    "post_layernorm.": "ln_post.",
    "encoder.layers.": "transformer.resblocks.",
    ".layer_norm": ".ln_",
    ".mlp.fc1.": ".mlp.c_fc.",
    ".mlp.fc2.": ".mlp.c_proj.",
    ".self_attn.out_proj.": ".attn.out_proj.",
}


@dataclass(frozen=True)
class CLIP(Extractor):
    """The image embedding before normalisation: 768 features of ViT-L/14 at 336 pixels, which CMMD takes.

    The network is torch-fidelity's; weights are read under OpenAI's names or Hugging Face's.

    Sources: Radford et al. 2021, https://arxiv.org/abs/2103.00020; resize as Jayasumana et al. 2024 do,
    https://arxiv.org/abs/2401.09603

    Args:
        weights: a file with the weights (PyTorch state dict or safetensors).
    """

    weights: str | None = None

    name: ClassVar[str] = "clip"
    batch: ClassVar[int] = 8

    @property
    def preprocessing(self) -> str:
        size = self.network.input_resolution
        return f"bicubic, not antialiased, to {size}x{size}, CLIP's mean and deviation, grey repeated to RGB"

    @property
    def widths(self) -> dict[str, int]:
        return {"pooled": self.network.output_dim}

    @cached_property
    def digest(self) -> str:
        return sha256(require(self.weights, "clip", URL))

    @cached_property
    def network(self) -> nn.Module:
        path = require(self.weights, "clip", URL)
        state = image_tower(read_state(path, SOURCE))
        return fill(_network(state, path), state, path, SOURCE)

    def validate(self, shape: tuple[int, ...]) -> None:
        check_colours(shape, self.name)
        require(self.weights, self.name, URL)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        size = self.network.input_resolution
        sized = nn.functional.interpolate(to_rgb(images, "CLIP") / 255, (size, size), mode="bicubic")
        return {"pooled": self.network(standardised(sized, MEAN, DEVIATION))}


def image_tower(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the image encoder's part of CLIP's state dict, under OpenAI's names without their prefix."""
    if "visual_projection.weight" not in state:
        return {name.removeprefix("visual."): value for name, value in state.items() if name.startswith("visual.")}
    named = {"proj": state["visual_projection.weight"].mT}
    for name, value in state.items():
        if name.startswith("vision_model.") and not name.endswith("position_ids"):
            short = name.removeprefix("vision_model.")
            for theirs, ours in NAMES.items():
                short = short.replace(theirs, ours)
            named[short] = value
    for name in [name for name in named if ".self_attn.q_proj." in name]:
        parts = [named.pop(name.replace("q_proj", f"{part}_proj")) for part in "qkv"]
        named[name.replace("self_attn.q_proj.", "attn.in_proj_")] = torch.cat(parts)
    return named


def _network(state: dict[str, Tensor], path: Path) -> nn.Module:
    """Return an image encoder of the size of the weights, not loaded."""
    from torch_fidelity.feature_extractor_clip import VisionTransformer

    try:
        width, _, _, patch = state["conv1.weight"].shape
        places, (_, features) = len(state["positional_embedding"]) - 1, state["proj"].shape
    except (KeyError, ValueError) as error:
        raise ConfigError(f"{path} does not hold an image encoder of CLIP ({error}). It should be {SOURCE}") from error
    depth = len({name.split(".")[2] for name in state if name.startswith("transformer.resblocks.")})
    with torch.device("meta"):
        tower = VisionTransformer(patch * round(places**0.5), patch, width, depth, width // 64, features)
    return tower.to_empty(device="cpu")
