"""The networks of EDM and EDM2 as functions of the tensors in their published files: a second, independent writing.

Names of tensors are those of the files, such as `enc.32x32_block0.conv0.weight`; formulas follow the papers' text.
"""

import math
import re
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]
ROOT_HALF = 0.5**0.5


def names(state: State, section: str) -> list[str]:
    """The modules of a section in the order in which they compute: by level, then by kind and number."""
    kinds = ("conv", "down", "in", "up", "aux_residual", "block", "aux_norm", "aux_conv")

    def place(name: str) -> tuple[int, int, int]:
        side, _, kind = name.partition("_")
        number = int(re.search(r"\d*$", kind)[0] or 0)
        level = int(side.split("x")[0]) * (-1 if section == "enc" else 1)
        return level, kinds.index(re.sub(r"\d+$", "", kind)), number

    return sorted({key.split(".")[1] for key in state if key.startswith(section + ".")}, key=place)


def filtered(x: Tensor, taps: list[float], up: bool = False, down: bool = False) -> Tensor:
    """Each pixel by an explicit sum over shifted images, so that it shares nothing with a convolution."""
    weights = [tap / sum(taps) for tap in taps]
    pad = (len(taps) - 1) // 2
    if up:
        spread = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
        spread[:, :, ::2, ::2] = 4 * x
        x, before, after = spread, len(taps) - 1 - pad, pad
    else:
        before, after = pad, pad
    for axis in (2, 3):
        padding = [0, 0, before, after] if axis == 2 else [before, after, 0, 0]
        wide = F.pad(x, padding)
        size = wide.shape[axis] - len(taps) + 1
        x = sum(w * wide.narrow(axis, i, size) for i, w in enumerate(weights))
    return x[:, :, ::2, ::2] if down else x


def song_unet(state: State, x: Tensor, time: Tensor, label: Tensor | None, augment: Tensor | None, taps) -> Tensor:
    """DDPM++ or NCSN++, told apart by their tensors. label: one-hot (B, classes)."""

    def linear(name: str, v: Tensor) -> Tensor:
        return F.linear(v, state[f"{name}.weight"], state.get(f"{name}.bias"))

    def conv(name: str, v: Tensor, **more) -> Tensor:
        weight = state[f"{name}.weight"]
        return F.conv2d(v, weight, state.get(f"{name}.bias"), padding=weight.shape[-1] // 2, **more)

    def norm(name: str, v: Tensor) -> Tensor:
        groups = min(32, v.shape[1] // 4)
        return F.group_norm(v, groups, state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-6)

    def block(name: str, v: Tensor, resample: Callable[[Tensor], Tensor]) -> Tensor:
        h = conv(f"{name}.conv0", resample(F.silu(norm(f"{name}.norm0", v))))
        h = F.silu(norm(f"{name}.norm1", h + linear(f"{name}.affine", embedding)[:, :, None, None]))
        h = conv(f"{name}.conv1", h)
        v = resample(v)
        v = conv(f"{name}.skip", v) if f"{name}.skip.weight" in state else v
        v = (v + h) * ROOT_HALF
        if f"{name}.qkv.weight" in state:
            q, k, w = conv(f"{name}.qkv", norm(f"{name}.norm2", v)).flatten(2).unflatten(1, (-1, 3)).unbind(2)
            attention = torch.softmax(q.mT @ k / q.shape[1] ** 0.5, dim=2)
            v = (v + conv(f"{name}.proj", (w @ attention.mT).reshape(v.shape))) * ROOT_HALF
        return v

    half = state["map_layer0.weight"].shape[1] // 2
    if "map_noise.freqs" in state:
        angles = torch.outer(time, 2 * math.pi * state["map_noise.freqs"])
    else:
        angles = torch.outer(time, (1 / 10000) ** (torch.arange(half) / (half - 1)))
    embedding = torch.cat([angles.sin(), angles.cos()], 1)
    if label is not None:
        embedding = embedding + linear("map_label", label * label.shape[1] ** 0.5)
    if augment is not None:
        embedding = embedding + linear("map_augment", augment)
    embedding = F.silu(linear("map_layer1", F.silu(linear("map_layer0", embedding))))

    def same(v: Tensor) -> Tensor:
        return v

    skips, beside = [], x
    for name in names(state, "enc"):
        if "aux_residual" in name:
            weight, bias = (state[f"enc.{name}.{kind}"] for kind in ("weight", "bias"))
            wide = F.conv2d(beside, weight, padding=1 + (len(taps) - 1) // 2)
            pad = (len(taps) - 1) // 2
            inner = filtered(wide, taps)[:, :, pad::2, pad::2][:, :, : x.shape[2], : x.shape[3]] + bias[:, None, None]
            x = skips[-1] = beside = (x + inner) * ROOT_HALF
        elif name.endswith("_conv"):
            x = conv(f"enc.{name}", x)
            skips.append(x)
        else:
            down = name.endswith("_down")
            x = block(f"enc.{name}", x, (lambda v: filtered(v, taps, down=True)) if down else same)
            skips.append(x)
    output = None
    for name in names(state, "dec"):
        if name.endswith("aux_norm"):
            hidden = F.silu(norm(f"dec.{name}", x))
        elif name.endswith("aux_conv"):
            addition = conv(f"dec.{name}", hidden)
            output = addition if output is None else filtered(output, taps, up=True) + addition
        else:
            if re.search(r"_block\d", name):
                x = torch.cat([x, skips.pop()], 1)
            up = name.endswith("_up")
            x = block(f"dec.{name}", x, (lambda v: filtered(v, taps, up=True)) if up else same)
    return output


def edm2(state: State, x: Tensor, time: Tensor, label: Tensor | None, t=(0.3, 0.3, 0.5, 0.5)) -> Tensor:
    """EDM2's U-Net. label: one-hot (B, classes); t: shares of residual, attention, label and skip."""
    residual, attended, labelled, skipped = t

    def mp_conv(name: str, v: Tensor, gain: Tensor | float = 1.0) -> Tensor:
        w = state[f"{name}.weight"]
        n = w[0].numel()
        w = w / (1e-4 + w.flatten(1).norm(dim=1).reshape(-1, *[1] * (w.ndim - 1)) / n**0.5) / n**0.5 * gain
        return v @ w.T if w.ndim == 2 else F.conv2d(v, w, padding=w.shape[-1] // 2)

    def silu(v: Tensor) -> Tensor:
        return v / (1 + torch.exp(-v)) / 0.596

    def mp_sum(a: Tensor, b: Tensor, share: float) -> Tensor:
        return ((1 - share) * a + share * b) / ((1 - share) ** 2 + share**2) ** 0.5

    def unit(v: Tensor, dim: int) -> Tensor:
        return v / (1e-4 + v.square().mean(dim, keepdim=True).sqrt())

    def block(name: str, v: Tensor) -> Tensor:
        if name.endswith("_down"):
            v = (v[:, :, ::2, ::2] + v[:, :, 1::2, ::2] + v[:, :, ::2, 1::2] + v[:, :, 1::2, 1::2]) / 4
        elif name.endswith("_up"):
            v = v.repeat_interleave(2, 2).repeat_interleave(2, 3)
        encoder, projects = name.startswith("enc"), f"{name}.conv_skip.weight" in state
        if encoder:
            v = unit(mp_conv(f"{name}.conv_skip", v) if projects else v, 1)
        gain = mp_conv(f"{name}.emb_linear", embedding, state[f"{name}.emb_gain"]) + 1
        h = mp_conv(f"{name}.conv_res1", silu(mp_conv(f"{name}.conv_res0", silu(v)) * gain[:, :, None, None]))
        v = mp_sum(mp_conv(f"{name}.conv_skip", v) if projects and not encoder else v, h, residual)
        if f"{name}.attn_qkv.weight" in state:
            parts = mp_conv(f"{name}.attn_qkv", v).flatten(2).unflatten(1, (-1, HEAD, 3))  # B, heads, c, 3, N
            q, k, w = (unit(one, 2) for one in parts.unbind(3))
            weights = torch.softmax(torch.einsum("bhcq,bhck->bhqk", q, k) / HEAD**0.5, 3)
            h = torch.einsum("bhqk,bhck->bhcq", weights, w).reshape(v.shape)
            v = mp_sum(v, mp_conv(f"{name}.attn_proj", h), attended)
        return v.clamp(-256, 256)

    waves = 2**0.5 * torch.cos(torch.outer(time, state["emb_fourier.freqs"]) + state["emb_fourier.phases"])
    embedding = mp_conv("emb_noise", waves)
    if label is not None:
        embedding = mp_sum(embedding, mp_conv("emb_label", label * label.shape[1] ** 0.5), labelled)
    embedding = silu(embedding)
    x, skips = torch.cat([x, torch.ones_like(x[:, :1])], 1), []
    for name in names(state, "enc"):
        x = mp_conv(f"enc.{name}", x) if name.endswith("_conv") else block(f"enc.{name}", x)
        skips.append(x)
    for name in names(state, "dec"):
        if "_block" in name:
            s = skips.pop()
            n, m = x.shape[1], s.shape[1]
            total = ((n + m) / ((1 - skipped) ** 2 + skipped**2)) ** 0.5
            x = torch.cat([x * (1 - skipped) / n**0.5, s * skipped / m**0.5], 1) * total
        x = block(f"dec.{name}", x)
    return mp_conv("out_conv", x, state["out_gain"])


HEAD = 64  # channels of EDM2's attention heads
