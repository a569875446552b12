"""Files of denoising-diffusion-pytorch (https://github.com/lucidrains/denoising-diffusion-pytorch)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mezzotint.diffusion import CosineSchedule, LinearSchedule, SigmoidSchedule
from mezzotint.errors import DataError
from mezzotint.networks import LinearAttentionUNet
from mezzotint.runs.published.description import Description, Settings, multipliers, shape_of, without_prefix
from mezzotint.runs.published.entries import Entries, Entry, renamed
from mezzotint.runs.published.files import read_tensors

TOP = {"first": "init_conv", "last": "final_conv"}
TOP |= {"embedding.time.first": "time_mlp.1", "embedding.time.second": "time_mlp.3"}
BLOCK = {"first": "block1.proj", "condition": "mlp.1", "second": "block2.proj", "shortcut": "res_conv"}
TABLES = ("alphas", "betas", "sqrt_", "log_one_minus", "posterior_", "loss_weight")  # of its `GaussianDiffusion`
SIZE = 128  # of the images in the examples of its page
SCHEDULES = {"sigmoid": SigmoidSchedule, "cosine": CosineSchedule, "linear": LinearSchedule}  # its default first
CHOICES = {"network": "linear_attention_unet", "c_noise": "step_index", "c_in": "none", "sampler": "ddpm"}
CHOICES |= {"grid": "trailing", "guidance": "clip", "objective": "simple", "loss": "squared"}


@dataclass(frozen=True)
class LeadingOne:
    """A tensor with a leading dimension of size 1 in the file."""

    def read(self, parts: Sequence[Tensor]) -> Tensor:
        return parts[0][0]

    def write(self, tensor: Tensor) -> list[Tensor]:
        return [tensor[None]]


def unet(network: LinearAttentionUNet) -> Entries:
    """Entries of the U-Net, for either kind of attention and of resampling that a level may have."""
    entries, levels = renamed("", "", TOP), len(network.down)
    for level in range(levels):
        for way, number in (("down", level), ("up", levels - 1 - level)):
            own, theirs = f"{way}.level{level}.", f"{way}s.{number}."
            entries |= block(f"{own}stages.0.block.", f"{theirs}0.") | block(f"{own}stages.1.block.", f"{theirs}1.")
            entries |= attention(f"{own}stages.1.attention.", f"{theirs}2.")
            entries |= renamed(own, theirs, {"resample": "3", "resample.1": "3.1"})
    entries |= block("middle.0.block.", "mid_block1.") | attention("middle.0.attention.", "mid_attn.")
    return entries | block("middle.1.block.", "mid_block2.") | block("final.block.", "final_res_block.")


def block(own: str, theirs: str) -> Entries:
    """Entries of a residual block."""
    norms = {f"{own}norm{i}.scale": Entry((f"{theirs}block{i}.norm.g",), LeadingOne()) for i in (1, 2)}
    return renamed(own, theirs, BLOCK) | norms


def attention(own: str, theirs: str) -> Entries:
    """Entries of attention, whose output is `project`, and of linear attention, whose output has a norm."""
    entries = renamed(own, theirs, {"qkv": "to_qkv", "project": "to_out", "output": "to_out.0"})
    entries[f"{own}memory"] = Entry((f"{theirs}mem_kv",))
    entries[f"{own}norm.scale"] = Entry((f"{theirs}norm.g",), LeadingOne())
    entries[f"{own}output_norm.scale"] = Entry((f"{theirs}to_out.1.g",), LeadingOne())
    return entries


def of_lucidrains(source: Path, given: Mapping[str, Any]) -> Description:
    """denoising-diffusion-pytorch: its `Unet`, alone, in `GaussianDiffusion`, or in a checkpoint of its `Trainer`."""
    tensors = read_tensors(source)
    if average := {name: value for name, value in tensors.items() if name.startswith("ema_model.")}:
        tensors = without_prefix(average, "ema_model.")
    tensors = without_prefix(without_prefix(tensors, "module."), "model.")
    kept = {name: value for name, value in tensors.items() if not name.startswith(TABLES)}
    settings, assumed = settings_of(kept, given)
    choices, more, guessed = diffusion_of(tensors)
    unused = [name for name in tensors if name not in kept]
    return Description(kept, CHOICES | choices, settings | more, unet, assumed + guessed, unused)


def settings_of(tensors: Mapping[str, Tensor], given: Mapping[str, Any]) -> tuple[Settings, list[str]]:
    """Return what the tensors say, and what was assumed: the size of the images is not in them.

    Raises:
        DataError: a U-Net with something that the one here lacks.
    """
    if "time_mlp.0.weights" in tensors:
        raise DataError("its time embedding has learned or random frequencies, which the network here lacks")
    width = shape_of(tensors, "time_mlp.1.weight")[1]
    first, channels = shape_of(tensors, "init_conv.weight")[:2]
    outputs = shape_of(tensors, "final_conv.weight")[0]
    if channels == 2 * outputs:
        raise DataError("its U-Net has self_condition=True, which the network here lacks")
    if first != width:
        raise DataError(
            f"its first layer has {first} channels and its width is {width} (init_dim), which must be equal"
        )
    levels = len({name.split(".")[1] for name in tensors if name.startswith("downs.")})
    leads = [f"downs.{level}.3{'.1' * (level < levels - 1)}.weight" for level in range(levels)]
    shape = given.get("data.shape", [channels, SIZE, SIZE])
    _, heads, _, head_width = shape_of(tensors, "mid_attn.mem_kv")
    settings: Settings = {
        "data.shape": shape,
        "data.classes": 0,
        "network.width": width,
        "network.multipliers": multipliers([shape_of(tensors, name)[0] for name in leads], width),
        "network.attention": [
            min(shape[1:]) >> level for level in range(levels) if f"downs.{level}.2.to_out.weight" in tensors
        ],
        "network.heads": heads,
        "network.head_width": head_width,
        "network.dropout": 0.0,
        "network.learned_variance": outputs == 2 * channels,
    }
    return settings, [f"data.shape={shape}"]


def diffusion_of(tensors: Mapping[str, Tensor]) -> tuple[dict[str, str], Settings, list[str]]:
    """Return schedule and target, which the tables of `GaussianDiffusion` tell, and else its defaults, as assumed."""
    if "betas" not in tensors or "loss_weight" not in tensors:
        return {"schedule": "sigmoid", "target": "velocity"}, {}, ["schedule=sigmoid", "target=velocity"]
    betas, weight = tensors["betas"].double(), tensors["loss_weight"].double()
    steps: Settings = {"schedule.steps": len(betas)}
    schedule = next((name for name, kind in SCHEDULES.items() if near(kind(len(betas)).betas(), betas)), None)
    if schedule is None:
        schedule, steps = "tabulated", {"schedule.values": betas.tolist()}
    kept = (1 - betas).cumprod(0)
    snr = kept / (1 - kept)
    # Its weight times these is the SNR, or min(SNR, gamma).
    factors = {"velocity": snr + 1, "epsilon": snr, "clean": torch.ones_like(snr)}
    scaled = {target: weight * factor for target, factor in factors.items()}
    target = next((name for name, w in scaled.items() if near(w, snr.clamp(max=float(w.max())))), None)
    guessed = [] if target else ["target=velocity"]
    return {"schedule": schedule, "target": target or "velocity"}, steps, guessed


def near(found: Tensor, expected: Tensor) -> bool:
    """Return whether both are the same up to single precision."""
    return torch.allclose(found, expected, rtol=1e-3, atol=1e-9)
