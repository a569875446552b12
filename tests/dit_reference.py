"""DiT and SiT as a function of the tensors in their files: a second writing."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def transformer(state: dict[str, Tensor], x: Tensor, time: Tensor, label: Tensor, heads: int) -> Tensor:
    """All outputs of the last layer; of DiT those are eps and the variance, of SiT the velocity and an unused half."""

    def linear(name: str, v: Tensor) -> Tensor:
        return torch.einsum("...i,oi->...o", v, state[f"{name}.weight"]) + state[f"{name}.bias"]

    def norm(v: Tensor) -> Tensor:
        return (v - v.mean(-1, keepdim=True)) / (v.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()

    def changed(name: str, count: int) -> list[Tensor]:
        return list(linear(f"{name}.adaLN_modulation.1", F.silu(condition))[:, None].chunk(count, -1))

    def attention(name: str, v: Tensor) -> Tensor:
        q, k, w = (part.unflatten(-1, (heads, -1)) for part in linear(f"{name}.qkv", v).chunk(3, -1))
        weights = torch.einsum("bqhc,bkhc->bhqk", q, k) / math.sqrt(q.shape[-1])
        return linear(f"{name}.proj", torch.einsum("bhqk,bkhc->bqhc", weights.softmax(-1), w).flatten(2))

    kernel = state["x_embedder.proj.weight"]
    side = kernel.shape[-1]
    tokens = F.conv2d(x, kernel, state["x_embedder.proj.bias"], stride=side).flatten(2).mT + state["pos_embed"]
    angles = torch.outer(time, torch.exp(torch.arange(128) * (-math.log(10000) / 128)))
    condition = linear("t_embedder.mlp.0", torch.cat([angles.cos(), angles.sin()], 1))
    condition = linear("t_embedder.mlp.2", F.silu(condition)) + state["y_embedder.embedding_table.weight"][label]
    for i in range(sum(name.endswith("attn.qkv.weight") for name in state)):
        name = f"blocks.{i}"
        shift1, scale1, gate1, shift2, scale2, gate2 = changed(name, 6)
        tokens = tokens + gate1 * attention(f"{name}.attn", norm(tokens) * (1 + scale1) + shift1)
        h = F.gelu(linear(f"{name}.mlp.fc1", norm(tokens) * (1 + scale2) + shift2), approximate="tanh")
        tokens = tokens + gate2 * linear(f"{name}.mlp.fc2", h)
    shift, scale = changed("final_layer", 2)
    patches = linear("final_layer.linear", norm(tokens) * (1 + scale) + shift)
    rows, columns = x.shape[2] // side, x.shape[3] // side
    out = torch.zeros(len(x), patches.shape[2] // side**2, *x.shape[2:])
    for i in range(patches.shape[1]):
        row, column = side * (i // columns), side * (i % columns)
        place = patches[:, i].reshape(len(x), side, side, -1).permute(0, 3, 1, 2)
        out[:, :, row : row + side, column : column + side] = place
    assert rows * columns == patches.shape[1]
    return out


def positions(width: int, side: int) -> Tensor:
    """(1, side^2, width): sines and cosines of the column, then of the row."""
    rates = [10000 ** (-4 * i / width) for i in range(width // 4)]
    table = [
        [wave(place * rate) for place in (column, row) for wave in (math.sin, math.cos) for rate in rates]
        for row in range(side)
        for column in range(side)
    ]
    return torch.tensor(table)[None]
