"""Files of DiT (https://github.com/facebookresearch/DiT) and SiT (https://github.com/willisma/SiT)."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mezzotint.errors import DataError
from mezzotint.networks import DiT
from mezzotint.networks.transformers.positions import sinusoidal_positions
from mezzotint.runs.published.description import Description, Settings, shape_of, split_off, without_prefix
from mezzotint.runs.published.entries import Entries, Entry, renamed
from mezzotint.runs.published.files import read_tensors

TOP = {"embedding.time.first": "t_embedder.mlp.0", "embedding.time.second": "t_embedder.mlp.2"}
TOP |= {"final.modulation": "final_layer.adaLN_modulation.1"}
BLOCK = {"attention.qkv": "attn.qkv", "attention.project": "attn.proj", "modulation": "adaLN_modulation.1"}
BLOCK |= {"mlp.first": "mlp.fc1", "mlp.second": "mlp.fc2"}
HEAD_WIDTHS = {1152: 72}  # of the published XL; the others have 64
DIT = {"schedule": "linear", "target": "epsilon", "c_noise": "step_index", "sampler": "ddpm", "grid": "linspace"}
SIT = {"schedule": "rectified", "target": "flow", "c_noise": "raw_time", "sampler": "heun", "grid": "trailing"}
COMMON = {"network": "dit_xl", "c_in": "none", "guidance": "none", "objective": "simple", "loss": "squared"}


@dataclass(frozen=True)
class ConvolutionKernel:
    """The kernel (width, C, patch, patch) of a convolution in the file, a matrix (width, C patch^2) in the network."""

    patch: int

    def read(self, parts: Sequence[Tensor]) -> Tensor:
        return parts[0].flatten(1)

    def write(self, tensor: Tensor) -> list[Tensor]:
        return [tensor.reshape(len(tensor), -1, self.patch, self.patch)]


@dataclass(frozen=True)
class PatchRows:
    """Rows of the last layer: in the file the channel changes fastest, in the network the place within a patch.

    Args:
        patch: side of a patch.
        unused: of SiT, the second half of the channels, which its own program drops: zeros where they are written.
        sign: of SiT -1, which predicts x0 - eps.
    """

    patch: int
    unused: bool = False
    sign: int = 1

    def read(self, parts: Sequence[Tensor]) -> Tensor:
        rows = parts[0].unflatten(0, (self.patch**2, -1)).movedim(1, 0)
        return self.sign * (rows[: len(rows) // 2] if self.unused else rows).flatten(0, 1)

    def write(self, tensor: Tensor) -> list[Tensor]:
        rows = self.sign * tensor.unflatten(0, (-1, self.patch**2))
        rows = torch.cat([rows, torch.zeros_like(rows)]) if self.unused else rows
        return [rows.movedim(0, 1).flatten(0, 1)]


class ReversedTime:
    """The first time layer (outputs, [cosines | sines]) for t in the file, and for 1 - t in the network.

    cos(w (1 - t)) = cos(w) cos(w t) + sin(w) sin(w t), sin(w (1 - t)) = sin(w) cos(w t) - cos(w) sin(w t): a linear
    map of the columns, and its own inverse.
    """

    def read(self, parts: Sequence[Tensor]) -> Tensor:
        cosines, sines = parts[0].double().chunk(2, dim=1)
        half = cosines.shape[1]
        angles = torch.exp(-math.log(10000) / half * torch.arange(half, dtype=torch.float64))
        turned = cosines * angles.cos() + sines * angles.sin(), cosines * angles.sin() - sines * angles.cos()
        return torch.cat(turned, dim=1).to(parts[0].dtype)

    def write(self, tensor: Tensor) -> list[Tensor]:
        return [self.read([tensor])]


def dit(network: DiT) -> Entries:
    """Entries of DiT."""
    return {**shared(network), **last_layer(PatchRows(network.patch))}


def sit(network: DiT) -> Entries:
    """Entries of SiT, whose t is 0 at noise and which predicts x0 - eps.

    The network's t is 1 there, and it predicts eps - x0. The last layer in the file has twice the outputs in use.
    """
    reversed_time = Entry(("t_embedder.mlp.0.weight",), ReversedTime())
    return {
        **shared(network),
        **last_layer(PatchRows(network.patch, unused=True, sign=-1)),
        "embedding.time.first.weight": reversed_time,
    }


def shared(network: DiT) -> Entries:
    """Entries of all but the last layer."""
    entries = renamed("", "", TOP)
    entries["embedding.label.table.weight"] = Entry(("y_embedder.embedding_table.weight",))
    entries["patches.linear.weight"] = Entry(("x_embedder.proj.weight",), ConvolutionKernel(network.patch))
    entries["patches.linear.bias"] = Entry(("x_embedder.proj.bias",))
    for i in range(len(network.blocks)):
        entries |= renamed(f"blocks.{i}.", f"blocks.{i}.", BLOCK)
    return entries


def last_layer(rows: PatchRows) -> Entries:
    return {f"final.linear.{kind}": Entry((f"final_layer.linear.{kind}",), rows) for kind in ("weight", "bias")}


def of_dit(source: Path, given: Mapping[str, Any]) -> Description:
    """DiT: class-conditional, with a learned variance or without."""
    tensors = read(source)
    settings, assumed = settings_of(tensors, given)
    learned = settings["network.learned_variance"]
    choices = COMMON | DIT | {"loss": "hybrid" if learned else "squared"}
    if learned:
        settings["sampler.variance._target_"] = "mezzotint.diffusion.LearnedRangeVariance"
    return described(tensors, choices, settings, dit, ["schedule=linear", *assumed])


def of_sit(source: Path, given: Mapping[str, Any]) -> Description:
    """SiT: the straight path, with the velocity as target."""
    tensors = read(source)
    settings, assumed = settings_of(tensors, given)
    if not settings["network.learned_variance"]:
        raise DataError("its last layer has no unused half, which every file of SiT has: try format=dit")
    settings["network.learned_variance"] = False
    return described(tensors, COMMON | SIT, settings, sit, ["schedule=rectified", "target=flow", *assumed])


def read(source: Path) -> dict[str, Tensor]:
    """Return the tensors of a file."""
    return without_prefix(read_tensors(source), "module.", "model.", "_orig_mod.")


def described(
    tensors: dict[str, Tensor], choices: dict[str, str], settings: Settings, entries: Any, assumed: list[str]
) -> Description:
    """Return the description, without the positions, which the network computes.

    Raises:
        DataError: the positions are others.
    """
    kept, unused = split_off(tensors, "pos_embed")
    for name in unused:
        stored = tensors[name].float().flatten(0, -2)
        side = math.isqrt(len(stored))
        if side**2 != len(stored) or not torch.allclose(
            stored, sinusoidal_positions((side, side), stored.shape[1]), rtol=0.0, atol=1e-4
        ):
            raise DataError(f"{name} is not the fixed sines and cosines of a square, which the network here adds")
    return Description(kept, choices, settings, entries, assumed, unused)


def settings_of(tensors: Mapping[str, Tensor], given: Mapping[str, Any]) -> tuple[Settings, list[str]]:
    """Return what the tensors say, and what was assumed; the number of heads is not in them."""
    width, channels, patch, _ = shape_of(tensors, "x_embedder.proj.weight")
    outputs = shape_of(tensors, "final_layer.linear.bias")[0] // patch**2
    depth = 1 + max((int(m[1]) for name in tensors if (m := re.match(r"blocks\.(\d+)\.", name))), default=-1)
    hidden = shape_of(tensors, "blocks.0.mlp.fc1.bias")[0]
    positions = tensors.get("pos_embed")
    tokens = 256 if positions is None else positions.shape[-2]  # 32 x 32 latents in patches of 2
    side = math.isqrt(tokens) * patch
    shape = given.get("data.shape", [channels, side, side])
    head_width = HEAD_WIDTHS.get(width, 64)
    settings: Settings = {
        "data.shape": shape,
        "data.classes": shape_of(tensors, "y_embedder.embedding_table.weight")[0] - 1,
        "network.width": width,
        "network.depth": depth,
        "network.head_width": head_width,
        "network.patch": patch,
        "network.mlp_ratio": hidden / width,
        "network.learned_variance": outputs == 2 * channels,
        "network.dropout": 0.0,
    }
    assumed = [f"network.head_width={head_width}"]
    if positions is None and "data.shape" not in given:
        assumed.append(f"data.shape={shape}")
    return settings, assumed
