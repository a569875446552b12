"""Names of tensors in diffusers' UNet2DModel (https://huggingface.co/docs/diffusers/api/models/unet2d)."""

from mezzotint.networks import UNet
from mezzotint.networks.unet import stages_of
from mezzotint.runs.published.entries import Entries, Entry, Split, SwappedHalves, WithoutNull, renamed

TOP = {"first": "conv_in", "norm": "conv_norm_out", "last": "conv_out"}
TOP |= {"embedding.time.first": "time_embedding.linear_1", "embedding.time.second": "time_embedding.linear_2"}
BLOCK = {"norm": "norm1", "first": "conv1", "condition.linear": "time_emb_proj", "condition.norm": "norm2"}
BLOCK |= {"second": "conv2", "shortcut": "conv_shortcut"}


def unet(network: UNet, swapped: bool = False) -> Entries:
    """Entries of a U-Net.

    Args:
        swapped: sines and cosines of the time are in the other order than in the network.
    """
    entries = renamed("", "", TOP)
    if swapped:
        entries["embedding.time.first.weight"] = Entry(("time_embedding.linear_1.weight",), SwappedHalves())
    entries["embedding.label.table.weight"] = Entry(("class_embedding.weight",), WithoutNull())
    for way, levels in (("down", network.down), ("up", network.up)):
        for number, (name, level) in enumerate(levels.items()):
            theirs = f"{way}_blocks.{number}."
            for i in range(len(stages_of(level))):
                entries |= stage(f"{way}.{name}.stages.{i}.", f"{theirs}resnets.{i}.", f"{theirs}attentions.{i}.")
            sampler = f"{theirs}{way}samplers.0."
            entries |= renamed(f"{way}.{name}.resample.", sampler, BLOCK | {"convolution": "conv"})
    for i in range(len(network.middle)):
        entries |= stage(f"middle.{i}.", f"mid_block.resnets.{i}.", f"mid_block.attentions.{i}.")
    return entries


def stage(own: str, block: str, attention: str) -> Entries:
    """Entries of a residual block and its attention."""
    entries = renamed(f"{own}block.", block, BLOCK)
    entries |= renamed(f"{own}attention.", attention, {"project": "to_out.0"}, dims=2)
    entries |= renamed(f"{own}attention.", attention, {"norm": "group_norm"})
    for kind in ("weight", "bias"):
        names = tuple(f"{attention}to_{letter}.{kind}" for letter in "qkv")
        entries[f"{own}attention.qkv.{kind}"] = Entry(names, Split(), 2 if kind == "weight" else None)
    return entries


OLDER = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}


def present_name(name: str) -> str:
    """Return the present name of a tensor that an earlier version of diffusers wrote."""
    for old, new in OLDER.items():
        name = name.replace(old, new)
    return name
