"""DINOv2: self-supervised features whose distances agree with human judgement better than Inception's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor, nn

from mezzotint.metrics.extractors.base import Extractor, check_colours, sha256, standardised, to_rgb
from mezzotint.metrics.extractors.pretrained import fill, read_state, require

URL = "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth"
SOURCE = f"the state dict of a DINOv2 ViT-S, B or L/14 without registers, such as {URL}"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of pixels in [0, 1]
SIZES = {384: "vits14", 768: "vitb14", 1024: "vitl14"}
SIZE, PATCH = 224, 14  # pixels


@dataclass(frozen=True)
class DINOv2(Extractor):
    """The class token after the last norm: 1,024 features of ViT-L/14, for FD-DINOv2, called fd_dinov2.

    Distances over the smaller networks are called fd_dinov2_vits14 and fd_dinov2_vitb14: they are not comparable.

    Sources: Oquab et al. 2023, https://arxiv.org/abs/2304.07193; FD-DINOv2: Stein et al. 2023,
    https://arxiv.org/abs/2306.04675

    Args:
        weights: a file with the published weights (PyTorch state dict, or safetensors with the same names).
    """

    weights: str | None = None

    batch: ClassVar[int] = 8
    preprocessing: ClassVar[str] = (
        "bicubic as Pillow's (antialiased, one side after the other, rounded) to 224x224, ImageNet's mean and "
        "deviation, grey repeated to RGB"
    )

    @property
    def name(self) -> str:
        size = SIZES.get(self.features, str(self.features))
        return "dinov2" if size == "vitl14" else f"dinov2_{size}"

    @property
    def widths(self) -> dict[str, int]:
        return {"pooled": self.network.norm.normalized_shape[0]}

    @cached_property
    def digest(self) -> str:
        return sha256(require(self.weights, "dinov2", URL))

    @cached_property
    def network(self) -> Backbone:
        path = require(self.weights, "dinov2", URL)
        state = read_state(path, SOURCE)
        state.pop("mask_token", None)
        return fill(Backbone.like(state), state, path, SOURCE)

    def validate(self, shape: tuple[int, ...]) -> None:
        check_colours(shape, "dinov2")
        require(self.weights, "dinov2", URL)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        sized = to_rgb(images, "DINOv2").to(torch.float32)
        for size in ((images.shape[2], SIZE), (SIZE, SIZE)):
            sized = nn.functional.interpolate(sized, size, mode="bicubic", antialias=True).round().clamp(0, 255)
        return {"pooled": self.network(standardised(sized / 255, MEAN, DEVIATION))}


class Backbone(nn.Module):
    """The vision transformer of DINOv2: images (B, 3, H, W) -> class tokens (B, width); sides are multiples of 14.

    Args:
        width: features of a token; each attention head has 64 of them.
        depth: blocks.
        places: positions along a side that were learned; others are interpolated from them.
    """

    def __init__(self, width: int, depth: int, places: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + places**2, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, PATCH, PATCH)})
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    @classmethod
    def like(cls, state: dict[str, Tensor]) -> Backbone:
        """Return a network of the size of a state dict; of an arbitrary size if that belongs to another network."""
        places, width = state.get("pos_embed", torch.empty(1, 2, 64)).shape[-2:]
        depth = len({name.split(".")[1] for name in state if name.startswith("blocks.")})
        return cls(max(64, width // 64 * 64), depth, round((places - 1) ** 0.5))

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patch_embed["proj"](x)
        places = torch.cat([self.pos_embed[:, :1], self.grid(*patches.shape[2:])], dim=1)
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), patches.flatten(2).mT], dim=1) + places
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens[:, 0])

    def grid(self, height: int, width: int) -> Tensor:
        """Position embeddings (1, height width, features) of a grid of patches.

        The factor is (n + 0.1) / m rather than n / m: a guard against rounding that the published code has.
        """
        learned = self.pos_embed[:, 1:]
        side = round(learned.shape[1] ** 0.5)
        if (height, width) == (side, side):
            return learned
        planes = learned.mT.unflatten(2, (side, side))
        factors = ((height + 0.1) / side, (width + 0.1) / side)
        return nn.functional.interpolate(planes, scale_factor=factors, mode="bicubic").flatten(2).mT


class Block(nn.Module):
    """Attention and a perceptron, each on normalised tokens, scaled by a learned vector and added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})
        self.ls1, self.ls2 = (nn.ParameterDict({"gamma": torch.ones(width)}) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1["gamma"] * self.attend(self.norm1(x))
        inner = nn.functional.gelu(self.mlp["fc1"](self.norm2(x)))
        return x + self.ls2["gamma"] * self.mlp["fc2"](inner)

    def attend(self, x: Tensor) -> Tensor:
        parts = self.attn["qkv"](x).unflatten(2, (3, -1, 64)).permute(2, 0, 3, 1, 4)  # q, k, v: (B, heads, tokens, 64)
        mixed = nn.functional.scaled_dot_product_attention(*parts)
        return self.attn["proj"](mixed.transpose(1, 2).flatten(2))
