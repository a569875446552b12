"""A convolutional autoencoder of images with normally distributed latents, and the layers that it consists of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from mezzotint.finite import Finite
from mezzotint.instantiate.nodes import Recorded
from mezzotint.networks.embeddings import refuse_label

EPS = 1e-6  # of GroupNorm


@dataclass(frozen=True)
class Posterior:
    """The distribution N(mean, exp(logvar)) of latents (B, C, h, w), with the names of diffusers."""

    mean: Tensor
    logvar: Tensor

    @property
    def latent_dist(self) -> "Posterior":
        return self

    def mode(self) -> Tensor:
        return self.mean

    def kl(self) -> Tensor:
        """The Kullback-Leibler divergence (B,) from N(0, 1), in nats, summed over the latent."""
        terms = self.mean.square() + self.logvar.exp() - 1.0 - self.logvar
        return 0.5 * terms.flatten(1).sum(1)


class Decoded(NamedTuple):
    """Decoded images (B, C, H, W)."""

    sample: Tensor


class Autoencoder(Recorded, nn.Module, metaclass=Finite):
    """Images (C, H, W) to latents (latent_channels, H / f, W / f) and back, f = 2^(len(widths) - 1).

    Residual blocks of two 3 x 3 convolutions, `layers` at each resolution and one more in the decoder, with
    self-attention at the lowest one. Names and shapes of the weights are those of `AutoencoderKL` in diffusers. As a
    network it answers with the reconstruction of the condition that it is given, an image; of x without one.

    Source: Rombach et al. 2022, appendix G, https://arxiv.org/abs/2112.10752; the layers of Esser et al. 2021,
    https://arxiv.org/abs/2012.09841

    Args:
        shape: (C, H, W) of the images; sides that f divides.
        classes: 0.
        latent_channels: channels of the latents.
        widths: channels at each resolution, from the highest on; multiples of `groups`.
        layers: residual blocks at each resolution.
        groups: of GroupNorm.
        attention: whether there is self-attention at the lowest resolution.
    """

    positive = ("latent_channels", "layers", "groups")

    def __init__(
        self,
        shape: Sequence[int],
        classes: int = 0,
        latent_channels: int = 4,
        widths: Sequence[int] = (32, 64, 64),
        layers: int = 1,
        groups: int = 8,
        attention: bool = True,
    ) -> None:
        super().__init__()
        self.shape, factor = tuple(shape), 2 ** (len(widths) - 1)
        if classes:
            raise ValueError(f"classes={classes}: an autoencoder takes no label; set data.classes=0.")
        if not widths or any(width % groups for width in widths):
            raise ValueError(f"widths={list(widths)}: give multiples of groups={groups}.")
        if len(self.shape) != 3 or any(side % factor for side in self.shape[1:]):
            raise ValueError(f"shape={list(shape)}: give images whose sides are multiples of {factor}.")
        self.latent_channels, self.widths, self.layers = latent_channels, tuple(widths), layers
        self.groups, self.attention = groups, attention
        self.encoder = Encoder(self.shape[0], 2 * latent_channels, self.widths, layers, groups, attention)
        self.decoder = Decoder(latent_channels, self.shape[0], self.widths, layers, groups, attention)
        self.quant_conv = nn.Conv2d(2 * latent_channels, 2 * latent_channels, 1)
        self.post_quant_conv = nn.Conv2d(latent_channels, latent_channels, 1)

    def encode(self, x: Tensor) -> Posterior:
        """Return the distribution of the latents of images x (B, C, H, W)."""
        mean, logvar = self.quant_conv(self.encoder(x)).chunk(2, dim=1)
        return Posterior(mean, logvar.clamp(-30.0, 20.0))

    def decode(self, z: Tensor) -> Decoded:
        """Return the images of latents z (B, latent_channels, h, w)."""
        return Decoded(self.decoder(self.post_quant_conv(z)))

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None, **conditions: Tensor | None) -> Tensor:
        """Return the reconstruction (B, C, H, W) of the image among the conditions, or of x without one."""
        refuse_label(label)
        given = [value for value in conditions.values() if value is not None]
        original = torch.nan_to_num(given[0].to(x.dtype)) if given else x
        return self.decode(self.encode(original).mean).sample

    def description(self) -> dict[str, Any]:
        """Return the config of the same autoencoder in diffusers, without factors of its latents."""
        count = len(self.widths)
        return {
            "_class_name": "AutoencoderKL",
            "act_fn": "silu",
            "block_out_channels": list(self.widths),
            "down_block_types": ["DownEncoderBlock2D"] * count,
            "up_block_types": ["UpDecoderBlock2D"] * count,
            "in_channels": self.shape[0],
            "out_channels": self.shape[0],
            "latent_channels": self.latent_channels,
            "layers_per_block": self.layers,
            "norm_num_groups": self.groups,
            "mid_block_add_attention": self.attention,
            "sample_size": list(self.shape[1:]),
        }

    @classmethod
    def of_description(cls, config: Mapping[str, Any]) -> "Autoencoder":
        """Return the autoencoder, with new weights, of a config that `description` gave. Raises KeyError, TypeError."""
        match config:
            case {
                "in_channels": channels,
                "sample_size": [height, width],
                "latent_channels": latent_channels,
                "block_out_channels": widths,
                "layers_per_block": layers,
                "norm_num_groups": groups,
                "mid_block_add_attention": attention,
            }:
                return cls((channels, height, width), 0, latent_channels, widths, layers, groups, attention)
        raise KeyError("the config lacks a setting of an autoencoder of Mezzotint")


class Encoder(nn.Module):
    """Images (B, inputs, H, W) to (B, outputs, h, w)."""

    def __init__(
        self, inputs: int, outputs: int, widths: Sequence[int], layers: int, groups: int, attention: bool
    ) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(inputs, widths[0], 3, padding=1)
        pairs = list(zip([widths[0], *widths], widths, strict=False))
        self.down_blocks = nn.ModuleList(
            Level(before, width, layers, groups, down=i < len(widths) - 1) for i, (before, width) in enumerate(pairs)
        )
        self.mid_block = Middle(widths[-1], groups, attention)
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], EPS)
        self.conv_out = nn.Conv2d(widths[-1], outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_in(x)
        for level in self.down_blocks:
            h = level(h)
        return self.conv_out(functional.silu(self.conv_norm_out(self.mid_block(h))))


class Decoder(nn.Module):
    """Latents (B, inputs, h, w) to images (B, outputs, H, W)."""

    def __init__(
        self, inputs: int, outputs: int, widths: Sequence[int], layers: int, groups: int, attention: bool
    ) -> None:
        super().__init__()
        widths = widths[::-1]
        self.conv_in = nn.Conv2d(inputs, widths[0], 3, padding=1)
        self.mid_block = Middle(widths[0], groups, attention)
        pairs = list(zip([widths[0], *widths], widths, strict=False))
        self.up_blocks = nn.ModuleList(
            Level(before, width, layers + 1, groups, up=i < len(widths) - 1) for i, (before, width) in enumerate(pairs)
        )
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], EPS)
        self.conv_out = nn.Conv2d(widths[-1], outputs, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.mid_block(self.conv_in(z))
        for level in self.up_blocks:
            h = level(h)
        return self.conv_out(functional.silu(self.conv_norm_out(h)))


class Level(nn.Module):
    """Residual blocks at one resolution, then halving or doubling of the resolution."""

    def __init__(
        self, inputs: int, outputs: int, blocks: int, groups: int, down: bool = False, up: bool = False
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(Residual(inputs if i == 0 else outputs, outputs, groups) for i in range(blocks))
        self.downsamplers = nn.ModuleList([Halving(outputs)] if down else [])
        self.upsamplers = nn.ModuleList([Doubling(outputs)] if up else [])

    def forward(self, h: Tensor) -> Tensor:
        for layer in (*self.resnets, *self.downsamplers, *self.upsamplers):
            h = layer(h)
        return h


class Middle(nn.Module):
    """Two residual blocks, with self-attention between them."""

    def __init__(self, width: int, groups: int, attention: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(Residual(width, width, groups) for _ in range(2))
        self.attentions = nn.ModuleList([Attention(width, groups)] if attention else [])

    def forward(self, h: Tensor) -> Tensor:
        first, last = self.resnets
        for layer in (first, *self.attentions, last):
            h = layer(h)
        return h


class Residual(nn.Module):
    """h + convolutions(h), with a 1 x 1 convolution of h where the number of channels changes."""

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.GroupNorm(groups, channels, EPS) for channels in (inputs, outputs))
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, h: Tensor) -> Tensor:
        inner = self.conv1(functional.silu(self.norm1(h)))
        inner = self.conv2(functional.silu(self.norm2(inner)))
        return inner + (h if self.conv_shortcut is None else self.conv_shortcut(h))


class Attention(nn.Module):
    """h + self-attention(h) over all positions, with one head."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, width, EPS)
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, h: Tensor) -> Tensor:
        tokens = self.group_norm(h).flatten(2).transpose(1, 2)
        mixed = functional.scaled_dot_product_attention(
            self.to_q(tokens)[:, None], self.to_k(tokens)[:, None], self.to_v(tokens)[:, None]
        )[:, 0]
        return h + self.to_out[0](mixed).transpose(1, 2).reshape(h.shape)


class Halving(nn.Module):
    """A 3 x 3 convolution with stride 2, padded at the lower and right border alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, h: Tensor) -> Tensor:
        return self.conv(functional.pad(h, (0, 1, 0, 1)))


class Doubling(nn.Module):
    """Each value four times, then a 3 x 3 convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        return self.conv(functional.interpolate(h, scale_factor=2.0, mode="nearest"))
