"""Names of tensors in the files of improved-diffusion and guided-diffusion (https://github.com/openai/guided-diffusion)."""

from torch import nn

from mezzotint.networks import UNet
from mezzotint.runs.published.entries import Entries, Entry, Interleaved, Layout, Same, WithoutNull, heads_of, renamed

TOP = {"first": "input_blocks.0.0", "embedding.time.first": "time_embed.0", "embedding.time.second": "time_embed.2"}
TOP |= {"norm": "out.0", "last": "out.2"}
BLOCK = {"norm": "in_layers.0", "first": "in_layers.2", "condition.linear": "emb_layers.1"}
BLOCK |= {"condition.norm": "out_layers.0", "second": "out_layers.3", "shortcut": "skip_connection"}


def unet(network: UNet, new_order: bool = False) -> Entries:
    """Entries of a U-Net.

    Args:
        new_order: all queries precede all keys (`use_new_attention_order`), which the tensors do not tell.
    """
    entries = renamed("", "", TOP)
    entries["embedding.label.table.weight"] = Entry(("label_emb.weight",), WithoutNull())
    number = 1
    for name, level in network.down.items():
        for i, part in enumerate(level.stages.children()):
            entries |= stage(f"down.{name}.stages.{i}", f"input_blocks.{number}", part, new_order)
            number += 1
        if level.resample is not None:
            entries |= renamed(f"down.{name}.resample.", f"input_blocks.{number}.0.", BLOCK | {"convolution": "op"})
            number += 1
    for i, (part, block, attention) in enumerate(zip(network.middle, ("0", "2"), ("1", ""), strict=True)):
        entries |= stage(f"middle.{i}", "middle_block", part, new_order, (block, attention))
    number = 0
    for name, level in network.up.items():
        attends = False
        for i, part in enumerate(level.stages.children()):
            entries |= stage(f"up.{name}.stages.{i}", f"output_blocks.{number}", part, new_order)
            attends = any(key.startswith(f"up.{name}.stages.{i}.attention") for key in entries)
            number += 1
        last = f"output_blocks.{number - 1}.{1 + attends}."
        entries |= renamed(f"up.{name}.resample.", last, BLOCK | {"convolution": "conv"})
    return entries


def stage(own: str, theirs: str, part: nn.Module, new_order: bool, numbers: tuple[str, str] = ("0", "1")) -> Entries:
    """Entries of a residual block and its attention, which have these numbers in a list."""
    block, attention = (f"{theirs}.{number}." for number in numbers)
    entries = renamed(f"{own}.block.", block, BLOCK)
    heads = heads_of(part)
    if not heads:
        return entries
    layout: Layout = Same() if new_order else Interleaved(heads)
    entries |= renamed(f"{own}.attention.", attention, {"norm": "norm", "project": "proj_out"}, dims=3)
    entries[f"{own}.attention.norm.weight"] = Entry((f"{attention}norm.weight",))
    for kind in ("weight", "bias"):
        dims = 3 if kind == "weight" else None
        entries[f"{own}.attention.qkv.{kind}"] = Entry((f"{attention}qkv.{kind}",), layout, dims)
    return entries
