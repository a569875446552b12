"""Names of tensors in the files of EDM and EDM2 (https://github.com/NVlabs/edm, https://github.com/NVlabs/edm2)."""

from torch import nn

from mezzotint.networks import EDM2UNet, SongUNet, UNet
from mezzotint.runs.published.entries import Entries, Entry, Interleaved, WithoutNull, heads_of, renamed

BLOCK = {"block.norm": "norm0", "block.first": "conv0", "block.condition.linear": "affine"}
BLOCK |= {"block.condition.norm": "norm1", "block.second": "conv1", "block.shortcut": "skip"}
ATTENTION = {"attention.norm": "norm2", "attention.project": "proj"}
MP_BLOCK = {"shortcut": "conv_skip", "first": "conv_res0", "embedding": "emb_linear", "second": "conv_res1"}
MP_BLOCK |= {"attention.project": "attn_proj"}


def stage(own: str, theirs: str, part: nn.Module) -> Entries:
    """Entries of a residual block with its attention."""
    entries = renamed(f"{own}.", f"{theirs}.", BLOCK | ATTENTION)
    layout = Interleaved(heads_of(part), innermost=True)
    for kind in ("weight", "bias"):
        entries[f"{own}.attention.qkv.{kind}"] = Entry((f"{theirs}.qkv.{kind}",), layout)
    return entries


def song_unet(network: SongUNet) -> Entries:
    """Entries of DDPM++ and NCSN++."""
    sides = [network.shape[1] >> level for level in range(len(network.down))]
    entries = renamed("", "", {"first": f"enc.{size(sides[0])}_conv", "embedding.label": "map_label"})
    entries |= renamed("embedding.", "", {"augment": "map_augment", "first": "map_layer0", "second": "map_layer1"})
    entries["embedding.features.frequencies"] = Entry(("map_noise.freqs",))
    for level, side in enumerate(sides):
        name, above = f"level{level}", f"level{level - 1}"
        if level:
            entries |= stage(f"down.{above}.resample", f"enc.{size(side)}_down", network.down[above].resample)
            entries |= renamed("", "", {f"inputs.{above}.convolution": f"enc.{size(side)}_aux_residual"})
        for i, part in enumerate(network.down[name].stages):
            entries |= stage(f"down.{name}.stages.{i}", f"enc.{size(side)}_block{i}", part)
        if name in network.resamplers:
            entries |= stage(f"resamplers.{name}", f"dec.{size(side)}_up", network.resamplers[name])
        for i, part in enumerate(network.up[name].stages):
            entries |= stage(f"up.{name}.stages.{i}", f"dec.{size(side)}_block{i}", part)
        outputs = {"norm": "aux_norm", "convolution": "aux_conv"}
        entries |= renamed(f"outputs.{name}.", f"dec.{size(side)}_", outputs)
    for i, part in enumerate(network.middle):
        entries |= stage(f"middle.{i}", f"dec.{size(sides[-1])}_in{i}", part)
    return entries


def adm(network: UNet) -> Entries:
    """Entries of ADM as EDM stores it."""
    sides = [network.shape[1] >> level for level in range(len(network.down))]
    entries = renamed("", "", {"first": f"enc.{size(sides[0])}_conv", "norm": "out_norm", "last": "out_conv"})
    entries |= renamed("embedding.", "", {"time.first": "map_layer0", "time.second": "map_layer1"})
    entries["embedding.label.table.weight"] = Entry(("map_label.weight",), WithoutNull(transposed=True))
    entries["embedding.augment.weight"] = Entry(("map_augment.weight",))
    for level, side in enumerate(sides):
        down, up = network.down[f"level{level}"], network.up[f"level{level}"]
        for i, part in enumerate(down.stages):
            entries |= stage(f"down.level{level}.stages.{i}", f"enc.{size(side)}_block{i}", part)
        for i, part in enumerate(up.stages):
            entries |= stage(f"up.level{level}.stages.{i}", f"dec.{size(side)}_block{i}", part)
        resampled = {"norm": "norm0", "first": "conv0", "condition.linear": "affine", "condition.norm": "norm1"}
        resampled |= {"second": "conv1"}
        entries |= renamed(f"down.level{level}.resample.", f"enc.{size(side // 2)}_down.", resampled)
        entries |= renamed(f"up.level{level}.resample.", f"dec.{size(2 * side)}_up.", resampled)
    for i, part in enumerate(network.middle):
        entries |= stage(f"middle.{i}", f"dec.{size(sides[-1])}_in{i}", part)
    return entries


def mp_block(own: str, theirs: str, part: nn.Module) -> Entries:
    """Entries of a magnitude-preserving block."""
    entries = renamed(f"{own}.", f"{theirs}.", MP_BLOCK)
    entries[f"{own}.gain"] = Entry((f"{theirs}.emb_gain",), dims=0)
    layout = Interleaved(heads_of(part), innermost=True)
    entries[f"{own}.attention.qkv.weight"] = Entry((f"{theirs}.attn_qkv.weight",), layout)
    return entries


def edm2(network: EDM2UNet) -> Entries:
    """Entries of EDM2's U-Net."""
    sides = [network.shape[1] >> level for level in range(len(network.down))]
    top = {"first": f"enc.{size(sides[0])}_conv", "last": "out_conv", "time": "emb_noise", "label": "emb_label"}
    entries = renamed("", "", top)
    entries["fourier.frequencies"], entries["fourier.phases"] = (
        Entry(("emb_fourier.freqs",)),
        Entry(("emb_fourier.phases",)),
    )
    entries["gain"] = Entry(("out_gain",), dims=0)
    for level, side in enumerate(sides):
        name = f"level{level}"
        for i, part in enumerate(network.down[name].children()):
            theirs = f"block{i - 1}" if level and i else "down" if level else f"block{i}"
            entries |= mp_block(f"down.{name}.{i}", f"enc.{size(side)}_{theirs}", part)
        if name in network.resamplers:
            entries |= mp_block(f"resamplers.{name}", f"dec.{size(side)}_up", network.resamplers[name])
        for i, part in enumerate(network.up[name].children()):
            entries |= mp_block(f"up.{name}.{i}", f"dec.{size(side)}_block{i}", part)
    for i, part in enumerate(network.middle):
        entries |= mp_block(f"middle.{i}", f"dec.{size(sides[-1])}_in{i}", part)
    return entries


def size(side: int) -> str:
    return f"{side}x{side}"
