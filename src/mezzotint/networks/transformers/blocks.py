"""Layers of diffusion transformers: attention over tokens, MLPs, and blocks that the condition modulates."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from mezzotint.networks.attention import attention
from mezzotint.networks.transformers.positions import rotate

EPSILON = 1e-6  # of the normalisations, as in the papers' code


def head_count(width: int, head_width: int) -> int:
    """Return the number of attention heads of `head_width` channels; a network narrower than that has one.

    Raises:
        ValueError: the heads do not divide the width, or their width is odd.
    """
    each = min(width, head_width)
    if each < 1 or width % each or each % 2:
        raise ValueError(
            f"head_width={head_width}: heads of that many channels do not divide width={width}. "
            "Choose an even number that does."
        )
    return width // each


def linear_layers(network: nn.Module) -> list[nn.Linear]:
    """Return all linear layers, with their biases set to zero."""
    layers = [part for part in network.modules() if isinstance(part, nn.Linear)]
    for layer in layers:
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return layers


class RMSNorm(nn.RMSNorm):
    """x / sqrt(mean(x^2) + 1e-6), times a learned scale, in the precision of that: under autocast in float32.

    Source: Zhang and Sennrich 2019, eq. 4, https://arxiv.org/abs/1910.07467
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self.weight.dtype))


class MLP(nn.Module):
    """W gelu(V x), with GELU's approximation by tanh unless `exact`: (B, N, width) -> (B, N, width)."""

    def __init__(self, width: int, hidden: int, dropout: float = 0.0, exact: bool = False) -> None:
        super().__init__()
        self.approximate = "none" if exact else "tanh"
        self.first = nn.Linear(width, hidden)
        self.dropout = nn.Dropout(dropout)
        self.second = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.dropout(functional.gelu(self.first(x), approximate=self.approximate)))


class SwiGLU(nn.Module):
    """W (silu(U x) * (V x)), U and V in one layer; two thirds of `hidden` keep the number of parameters of an MLP.

    Source: Shazeer 2020, eq. 6, https://arxiv.org/abs/2002.05202
    """

    def __init__(self, width: int, hidden: int, dropout: float = 0.0, bias: bool = True) -> None:
        super().__init__()
        kept = hidden * 2 // 3
        self.first = nn.Linear(width, 2 * kept, bias=bias)
        self.dropout = nn.Dropout(dropout)
        self.second = nn.Linear(kept, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.first(x).chunk(2, dim=-1)
        return self.second(self.dropout(functional.silu(gate) * value))


class TokenAttention(nn.Module):
    """Self-attention over tokens: (B, N, width) -> (B, N, width).

    Args:
        width: channels.
        head_width: channels per head, at most width.
        qk_norm: queries and keys are normalised by their root mean square; Henry et al. 2020,
            https://arxiv.org/abs/2010.04245, and Dehghani et al. 2023, https://arxiv.org/abs/2302.05442
        bias: of queries, keys and values.
        dropout: dropout probability after the projection.
    """

    def __init__(
        self, width: int, head_width: int, qk_norm: bool = False, bias: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.heads = head_count(width, head_width)
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.query_norm = RMSNorm(width // self.heads) if qk_norm else nn.Identity()
        self.key_norm = RMSNorm(width // self.heads) if qk_norm else nn.Identity()
        self.project = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, rotation: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Attend within tokens x (B, N, width), with the table of `rotary_table` and the mask of `attention`."""
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        query, key = self.query_norm(query), self.key_norm(key)
        if rotation is not None:
            query, key = rotate(query, rotation), rotate(key, rotation)
        query, key = query.to(value.dtype), key.to(value.dtype)  # norms and rotations may be in float32
        return self.dropout(self.project(attention(query, key, value, mask).transpose(1, 2).flatten(2)))


@dataclass(frozen=True)
class BlockFactory:
    """Builds the blocks of one transformer, which share all settings but dropout.

    Args:
        width: channels of a token.
        head_width: channels per attention head, at most width.
        mlp_ratio: hidden channels of the MLP in multiples of the width.
        swiglu: SwiGLU in place of GELU.
        rms_norm: RMSNorm with a learned scale in place of LayerNorm without one.
        qk_norm: queries and keys are normalised.
        bias: of queries, keys, values and SwiGLU.
    """

    width: int
    head_width: int
    mlp_ratio: float = 4.0
    swiglu: bool = False
    rms_norm: bool = False
    qk_norm: bool = False
    bias: bool = True

    @property
    def heads(self) -> int:
        return head_count(self.width, self.head_width)

    def norm(self) -> nn.Module:
        if self.rms_norm:
            return RMSNorm(self.width)
        return nn.LayerNorm(self.width, EPSILON, elementwise_affine=False)

    def attention(self, dropout: float) -> TokenAttention:
        return TokenAttention(self.width, self.head_width, self.qk_norm, self.bias, dropout)

    def mlp(self, dropout: float) -> nn.Module:
        hidden = int(self.width * self.mlp_ratio)
        return SwiGLU(self.width, hidden, dropout, self.bias) if self.swiglu else MLP(self.width, hidden, dropout)

    def block(self, dropout: float = 0.0) -> "AdaLNBlock":
        return AdaLNBlock(self.width, self.norm, self.attention(dropout), self.mlp(dropout))


def recomputed(enabled: bool, compute: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
    """Return compute(*inputs); where `enabled`, the backward pass recomputes activations instead of storing them."""
    if enabled and torch.is_grad_enabled():
        return checkpoint(compute, *inputs, use_reentrant=False)
    return compute(*inputs)


class AdaLNBlock(nn.Module):
    """x + g1 attention(m1(norm(x))), then x + g2 mlp(m2(norm(x))), with m(h) = (1 + scale) h + shift (adaLN-zero).

    Scales, shifts and gates g are a linear function of the condition that is initialised to zero, so that the block
    starts as the identity.

    Source: Peebles and Xie 2023, section 3.2, https://arxiv.org/abs/2212.09748
    """

    def __init__(self, width: int, norm: Callable[[], nn.Module], attention: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        self.norm1, self.attention = norm(), attention
        self.norm2, self.mlp = norm(), mlp
        self.modulation = nn.Linear(width, 6 * width)
        self.checkpointing = False

    def forward(
        self, x: Tensor, condition: Tensor, rotation: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Transform tokens x (B, N, width); condition is (B, 1, width), or (B, N, width) where tokens differ in it."""
        return recomputed(self.checkpointing, self.compute, x, condition, rotation, mask)

    def compute(self, x: Tensor, condition: Tensor, rotation: Tensor | None, mask: Tensor | None) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(condition).chunk(6, dim=-1)
        x = x + gate1 * self.attention(self.norm1(x) * (1 + scale1) + shift1, rotation, mask)
        return x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)


class FinalLayer(nn.Module):
    """linear(m(norm(x))): tokens to patches. Zero-initialised, so that the untrained network returns 0."""

    def __init__(self, width: int, outputs: int, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.modulation = nn.Linear(width, 2 * width)
        self.linear = nn.Linear(width, outputs)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        shift, scale = self.modulation(condition).chunk(2, dim=-1)
        return self.linear(self.norm(x) * (1 + scale) + shift)
