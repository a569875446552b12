"""Magnitude-preserving layers: inputs with unit mean square give outputs with unit mean square, at any weights.

Source: Karras et al. 2024, section 2 and appendix B, https://arxiv.org/abs/2312.02696
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from mezzotint.networks.attention import attend
from mezzotint.networks.layers import per_channel

SILU_RMS = 0.596  # root mean square of silu(x) for normal x
LIMIT = 256.0  # of activations, for float16


def normalized(x: Tensor, *dims: int, eps: float = 1e-4) -> Tensor:
    """Return x with unit root mean square along `dims`: x / (eps + rms(x)), computed in float32 at least; eq. 47."""
    count = math.prod([x.shape[d] for d in dims])
    wide = torch.promote_types(x.dtype, torch.float32)
    norm = torch.linalg.vector_norm(x, dim=dims, keepdim=True, dtype=wide)
    return x / (eps + norm / math.sqrt(count)).to(x.dtype)


def mp_silu(x: Tensor) -> Tensor:
    """Return silu(x) / 0.596; eq. 81."""
    return functional.silu(x) / SILU_RMS


def mp_sum(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Return ((1 - t) a + t b) / sqrt((1 - t)^2 + t^2), t the share of b; eq. 88."""
    wide = torch.promote_types(a.dtype, b.dtype)  # under autocast one may be narrower, which lerp refuses
    return torch.lerp(a.to(wide), b.to(wide), share) / math.hypot(1.0 - share, share)


def mp_cat(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Concatenate channels so that each input contributes by its share, not by its number of channels; eq. 103."""
    n, m = a.shape[1], b.shape[1]
    total = math.sqrt((n + m) / ((1.0 - share) ** 2 + share**2))
    return torch.cat([a * (total * (1.0 - share) / math.sqrt(n)), b * (total * share / math.sqrt(m))], dim=1)


class MPFourier(nn.Module):
    """sqrt(2) cos(f time + phase) with fixed random f ~ N(0, (2 pi)^2): (B,) -> (B, width) float32; eq. 75."""

    frequencies: Tensor
    phases: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", 2.0 * math.pi * torch.randn(width))
        self.register_buffer("phases", 2.0 * math.pi * torch.rand(width))

    def forward(self, time: Tensor) -> Tensor:
        angles = time.float()[:, None] * self.frequencies.float() + self.phases.float()
        return angles.cos() * math.sqrt(2.0)


class MPWeight(nn.Module):
    """A linear layer or convolution without bias whose weights are normalised for each output; eq. 47 and 66.

    `taps` is 0 for a linear layer. The weights that are stored are normalised after each training step (`constrain`),
    which keeps the effective learning rate independent of how large they would grow.
    """

    def __init__(self, inputs: int, outputs: int, taps: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, *(taps, taps) if taps else ()))
        self.constrain()

    @torch.no_grad()
    def constrain(self) -> None:
        """Normalise the stored weights; what the layer computes does not change."""
        self.weight.copy_(self.unit())

    def unit(self) -> Tensor:
        return normalized(self.weight, *range(1, self.weight.ndim))

    def forward(self, x: Tensor, gain: Tensor | float = 1.0) -> Tensor:
        weight = (self.unit() * (gain / math.sqrt(self.weight[0].numel()))).to(x.dtype)
        if weight.ndim == 2:
            return functional.linear(x, weight)
        return functional.conv2d(x, weight, padding=weight.shape[-1] // 2)


class MPAttention(nn.Module):
    """Cosine attention over all positions, joined to its input by a magnitude-preserving sum; section 2.4."""

    def __init__(self, channels: int, heads: int, share: float) -> None:
        super().__init__()
        self.heads, self.share = heads, share
        self.qkv = MPWeight(channels, 3 * channels, 1)
        self.project = MPWeight(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.qkv(x).flatten(2).chunk(3, dim=1)
        query, key, value = (normalized(part.unflatten(1, (self.heads, -1)), 2) for part in parts)
        return mp_sum(x, self.project(attend(query, key, value).reshape(x.shape)), self.share)


class MPBlock(nn.Module):
    """A magnitude-preserving residual block: embedding as a gain per channel, optional attention; figures 21 and 22.

    In the encoder the input is projected and then normalised per pixel; in the decoder it is projected on the shortcut.
    With `checkpointing` the backward pass recomputes activations instead of storing them.

    Args:
        encoder: which of the two orders.
        resample: (x) -> x at another size, before everything else.
        heads: of the attention that follows; 0 for none.
        shares: of the residual branch and of attention in the sums.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        embedding: int,
        encoder: bool,
        resample: nn.Module | None = None,
        heads: int = 0,
        dropout: float = 0.0,
        shares: tuple[float, float] = (0.3, 0.3),
    ) -> None:
        super().__init__()
        self.encoder, self.share, self.checkpointing = encoder, shares[0], False
        self.resample = resample or nn.Identity()
        self.shortcut = MPWeight(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.first = MPWeight(outputs if encoder else inputs, outputs, 3)
        self.embedding = MPWeight(embedding, outputs)
        self.gain = nn.Parameter(torch.zeros(1))  # of the embedding; not a scalar, which FSDP cannot split
        self.dropout = nn.Dropout(dropout)
        self.second = MPWeight(outputs, outputs, 3)
        self.attention = MPAttention(outputs, heads, shares[1]) if heads else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(self.compute, x, embedding, use_reentrant=False)
        return self.compute(x, embedding)

    def compute(self, x: Tensor, embedding: Tensor) -> Tensor:
        x = self.resample(x)
        if self.encoder:
            x = normalized(self.shortcut(x), 1)
        h = self.first(mp_silu(x))
        h = mp_silu(h * per_channel(self.embedding(embedding, self.gain) + 1.0, h).to(h.dtype))
        h = self.second(self.dropout(h))
        x = mp_sum(x if self.encoder else self.shortcut(x), h, self.share)
        return self.attention(x).clamp(-LIMIT, LIMIT)
