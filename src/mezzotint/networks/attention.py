"""Attention over tokens, and over the positions of a feature map, to themselves or to tokens."""

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional

from mezzotint.networks.conditions.embedder import TokenContext
from mezzotint.networks.layers import convolution, group_norm, scaled, zero


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return softmax(query key^T / sqrt(d)) value.

    Two matrix products where the fused kernels of `scaled_dot_product_attention` lag behind: in bfloat16 on a CPU,
    where they are 3 to 6 times faster with the backward pass, and under forward-mode differentiation.

    Args:
        query, key, value: (B, heads, N, d) each; key and value may have another N. Fastest where the last dimension is
            contiguous.
        mask: bool, broadcastable to (B, heads, N, N), false for keys that are left out; None for all.

    Returns:
        (B, heads, N, d) of the query.
    """
    slow = query.device.type == "cpu" and query.dtype == torch.bfloat16
    if slow or forward_mode():
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        scores = scores if mask is None else scores.masked_fill(~mask, -torch.inf)
        return scores.softmax(dim=-1) @ value
    return functional.scaled_dot_product_attention(query, key, value, mask)


def forward_mode() -> bool:
    """Return whether forward-mode derivatives are being computed, by torch.func.jvp or torch.autograd.forward_ad."""
    return forward_ad._current_level >= 0


def attend(query: Tensor, key: Tensor, value: Tensor, counts: Tensor | None = None) -> Tensor:
    r"""Return `attention` of channels-first tensors: value softmax(key^T query / sqrt(d)).

    Fused kernels are fast on contiguous tensors only: others, of this layout, silently take a slow path.

    Args:
        query, key, value: (B, heads, d, N) each; key and value may have another N.
        counts: (B, N) bool, false for keys that are left out; None for all.

    Returns:
        (B, heads, d, N) of the query.
    """
    mask = None if counts is None else counts[:, None, None, :]
    if query.device.type == "cpu" and query.dtype == torch.bfloat16:
        scores = (query * query.shape[-2] ** -0.5).transpose(-1, -2) @ key
        scores = scores if mask is None else scores.masked_fill(~mask, -torch.inf)
        return value @ scores.softmax(dim=-1).transpose(-1, -2)
    query, key, value = (part.transpose(-1, -2).contiguous() for part in (query, key, value))
    return attention(query, key, value, mask).transpose(-1, -2)


class SelfAttention(nn.Module):
    """scale (x + project(attend(query, key, value))), all positions. Source: Ho, Jain and Abbeel 2020, appendix B.

    The last convolution is initialised to zero, so that the block starts as the identity and deep stacks train well.
    """

    def __init__(
        self, channels: int, heads: int, groups: int, rank: int = 2, scale: float = 1.0, eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.heads, self.scale = heads, scale
        self.norm = group_norm(channels, groups, eps)
        self.qkv = convolution(rank, channels, 3 * channels, 1)
        self.project = zero(convolution(rank, channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(self.norm(x)).flatten(2).chunk(3, dim=1)
        query, key, value = (part.unflatten(1, (self.heads, -1)) for part in (query, key, value))
        return scaled(x + self.project(attend(query, key, value).reshape(x.shape)), self.scale)


class CrossAttention(nn.Module):
    """x + project(attend(query(x), key(tokens), value(tokens))): each position attends to the tokens of a context.

    The last convolution is initialised to zero, as in `SelfAttention`.

    Source: Rombach et al. 2022, section 3.3, https://arxiv.org/abs/2112.10752
    """

    def __init__(self, channels: int, context: int, heads: int, groups: int, rank: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.norm = group_norm(channels, groups)
        self.query = convolution(rank, channels, channels, 1)
        self.key_value = nn.Linear(context, 2 * channels)
        self.project = zero(convolution(rank, channels, channels, 1))

    def forward(self, x: Tensor, context: TokenContext) -> Tensor:
        query = self.query(self.norm(x)).flatten(2)
        key, value = self.key_value(context.tokens).transpose(1, 2).chunk(2, dim=1)
        query, key, value = (part.unflatten(1, (self.heads, -1)) for part in (query, key, value))
        return x + self.project(attend(query, key, value, context.counts).reshape(x.shape))
