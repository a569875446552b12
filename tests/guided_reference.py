"""The U-Net of improved-diffusion and guided-diffusion as a function of the tensors in its files: a second writing."""

import math
import re

import torch
from torch import Tensor
from torch.nn import functional as F


def unet(state: dict[str, Tensor], x: Tensor, time: Tensor, label: Tensor | None, heads, new_order: bool) -> Tensor:
    """heads: channels -> number of heads."""

    def conv(name: str, v: Tensor, **more) -> Tensor:
        weight = state[f"{name}.weight"]
        return F.conv2d(v, weight, state[f"{name}.bias"], padding=weight.shape[-1] // 2, **more)

    def norm(name: str, v: Tensor) -> Tensor:
        return F.group_norm(v, GROUPS, state[f"{name}.weight"], state[f"{name}.bias"])

    def linear(name: str, v: Tensor) -> Tensor:
        return v @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def block(name: str, v: Tensor, resample) -> Tensor:
        h = conv(f"{name}.in_layers.2", resample(F.silu(norm(f"{name}.in_layers.0", v))))
        e = linear(f"{name}.emb_layers.1", F.silu(embedding))[:, :, None, None]
        if e.shape[1] == 2 * h.shape[1]:
            h = norm(f"{name}.out_layers.0", h) * (1 + e[:, : h.shape[1]]) + e[:, h.shape[1] :]
        else:
            h = norm(f"{name}.out_layers.0", h + e)
        v = resample(v)
        v = conv(f"{name}.skip_connection", v) if f"{name}.skip_connection.weight" in state else v
        return v + conv(f"{name}.out_layers.3", F.silu(h))

    def attention(name: str, v: Tensor) -> Tensor:
        h = norm(f"{name}.norm", v).flatten(2)
        h = torch.einsum("oi,bin->bon", state[f"{name}.qkv.weight"][:, :, 0], h) + state[f"{name}.qkv.bias"][:, None]
        n = heads(v.shape[1])
        split = h.unflatten(1, (3, n, -1)).unbind(1) if new_order else h.unflatten(1, (n, 3, -1)).unbind(2)
        q, k, w = split
        weights = torch.softmax(torch.einsum("bhcq,bhck->bhqk", q, k) / math.sqrt(q.shape[2]), -1)
        h = torch.einsum("bhqk,bhck->bhcq", weights, w).flatten(1, 2)
        h = torch.einsum("oi,bin->bon", state[f"{name}.proj_out.weight"][:, :, 0], h)
        return v + (h + state[f"{name}.proj_out.bias"][:, None]).reshape(v.shape)

    def half(v: Tensor) -> Tensor:
        return (v[:, :, ::2, ::2] + v[:, :, 1::2, ::2] + v[:, :, ::2, 1::2] + v[:, :, 1::2, 1::2]) / 4

    def twice(v: Tensor) -> Tensor:
        return v.repeat_interleave(2, 2).repeat_interleave(2, 3)

    def number(key: str, section: str) -> int:
        return int(re.match(rf"{section}\.(\d+)\.", key)[1])

    width = state["time_embed.0.weight"].shape[1]
    angles = torch.outer(time, 10000.0 ** (-torch.arange(width // 2) / (width // 2)))
    embedding = linear("time_embed.0", torch.cat([angles.cos(), angles.sin()], 1))
    embedding = linear("time_embed.2", F.silu(embedding))
    if label is not None:
        embedding = embedding + state["label_emb.weight"][label]

    count = 1 + max(number(key, "input_blocks") for key in state if key.startswith("input_blocks"))
    per_level = count // LEVELS
    x = conv("input_blocks.0.0", x)
    skips = [x]
    for n in range(1, count):
        name = f"input_blocks.{n}"
        if f"{name}.0.op.weight" in state:
            x = conv(f"{name}.0.op", x, stride=2)
        else:
            x = block(f"{name}.0", x, half if n % per_level == 0 else lambda v: v)
        x = attention(f"{name}.1", x) if f"{name}.1.qkv.weight" in state else x
        skips.append(x)
    x = block("middle_block.0", x, lambda v: v)
    x = block("middle_block.2", attention("middle_block.1", x), lambda v: v)
    for n in range(count):
        name = f"output_blocks.{n}"
        x = block(f"{name}.0", torch.cat([x, skips.pop()], 1), lambda v: v)
        last = 1
        if f"{name}.1.qkv.weight" in state:
            x, last = attention(f"{name}.1", x), 2
        if f"{name}.{last}.conv.weight" in state:
            x = conv(f"{name}.{last}.conv", twice(x))
        elif f"{name}.{last}.in_layers.0.weight" in state:
            x = block(f"{name}.{last}", x, twice)
    return conv("out.2", F.silu(norm("out.0", x)))


GROUPS, LEVELS = 8, 3  # of the small networks in the tests
