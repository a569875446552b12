"""The U-Net of denoising-diffusion-pytorch as a function of the tensors in its files: a second writing for images."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def unet(state: dict[str, Tensor], x: Tensor, time: Tensor) -> Tensor:
    def conv(name: str, v: Tensor) -> Tensor:
        weight = state[f"{name}.weight"]
        return F.conv2d(v, weight, state.get(f"{name}.bias"), padding=weight.shape[-1] // 2)

    def norm(name: str, v: Tensor) -> Tensor:
        return v * state[f"{name}.g"] * math.sqrt(v.shape[1]) / v.square().sum(1, keepdim=True).sqrt()

    def linear(name: str, v: Tensor) -> Tensor:
        return v @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def block(name: str, v: Tensor) -> Tensor:
        scale, shift = linear(f"{name}.mlp.1", F.silu(embedding))[:, :, None, None].chunk(2, 1)
        h = F.silu(norm(f"{name}.block1.norm", conv(f"{name}.block1.proj", v)) * (scale + 1) + shift)
        h = F.silu(norm(f"{name}.block2.norm", conv(f"{name}.block2.proj", h)))
        return h + (conv(f"{name}.res_conv", v) if f"{name}.res_conv.weight" in state else v)

    def attention(name: str, v: Tensor) -> Tensor:
        """One image and one head at a time."""
        memory = state[f"{name}.mem_kv"]
        linear_kind = f"{name}.to_out.0.weight" in state
        width, found = memory.shape[2 if linear_kind else 3], []
        qkv = conv(f"{name}.to_qkv", norm(f"{name}.norm", v))
        for image in qkv.flatten(2):
            parts = []
            for head in range(memory.shape[1]):
                q, k, w = (third[head * width : (head + 1) * width] for third in image.chunk(3))  # (width, positions)
                mk, mw = (memory[i, head] if linear_kind else memory[i, head].T for i in (0, 1))
                k, w = torch.cat([mk, k], 1), torch.cat([mw, w], 1)
                if linear_kind:
                    context = torch.einsum("dn,en->de", k.softmax(1), w)
                    parts.append(torch.einsum("de,dn->en", context, q.softmax(0) / math.sqrt(width)))
                else:
                    parts.append(w @ (q.T @ k / math.sqrt(width)).softmax(1).T)
            found.append(torch.cat(parts))
        out = torch.stack(found).unflatten(2, v.shape[2:])
        if linear_kind:
            return v + norm(f"{name}.to_out.1", conv(f"{name}.to_out.0", out))
        return v + conv(f"{name}.to_out", out)

    def cells(v: Tensor) -> Tensor:
        corners = [v[:, :, row::2, column::2] for row in (0, 1) for column in (0, 1)]
        return torch.stack(corners, 2).flatten(1, 2)

    def twice(v: Tensor) -> Tensor:
        return v.repeat_interleave(2, 2).repeat_interleave(2, 3)

    half = state["time_mlp.1.weight"].shape[1] // 2
    angles = torch.outer(time, torch.exp(-torch.arange(half) * math.log(10000) / (half - 1)))
    embedding = linear("time_mlp.3", F.gelu(linear("time_mlp.1", torch.cat([angles.sin(), angles.cos()], 1))))

    levels = len({name.split(".")[1] for name in state if name.startswith("downs.")})
    x = first = conv("init_conv", x)
    kept = []
    for i in range(levels):
        x = block(f"downs.{i}.0", x)
        kept.append(x)
        x = attention(f"downs.{i}.2", block(f"downs.{i}.1", x))
        kept.append(x)
        x = conv(f"downs.{i}.3.1", cells(x)) if i < levels - 1 else conv(f"downs.{i}.3", x)
    x = block("mid_block2", attention("mid_attn", block("mid_block1", x)))
    for i in range(levels):
        x = block(f"ups.{i}.0", torch.cat([x, kept.pop()], 1))
        x = attention(f"ups.{i}.2", block(f"ups.{i}.1", torch.cat([x, kept.pop()], 1)))
        x = conv(f"ups.{i}.3.1", twice(x)) if i < levels - 1 else conv(f"ups.{i}.3", x)
    return conv("final_conv", block("final_res_block", torch.cat([x, first], 1)))
