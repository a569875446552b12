"""Our U-Net as a UNet2DModel of diffusers, whose norms all have one number of groups."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mezzotint.networks import UNet
from mezzotint.networks.unet import Stage, stages_of
from mezzotint.runs.published import diffusers
from mezzotint.runs.published.entries import write_state

WIDEST = 512  # channels of a padded network


@dataclass(frozen=True)
class Twin:
    """The arguments and the state of a UNet2DModel that computes what a U-Net does without a class."""

    config: dict[str, Any]
    state: dict[str, Tensor]


def twin(network: nn.Module) -> Twin | None:
    """Return the UNet2DModel of a network; None where there is none.

    Norms with one number of groups are taken as they are. Norms with one size of groups, such as four channels in small
    networks, become those of a wider network with one number of groups: each group lies there twice, which leaves its
    mean and variance as they are, and zeros fill the rest. Where a level of the encoder has more channels than the one
    above it, the convolution between them also computes its shortcut, since maps of one width have none.
    """
    if not isinstance(network, UNet) or len(network.shape) != 3:
        return None
    given = settings(network)
    different = ("conditions", "cross_attention", "augmentation", "self_conditioning", "learned_variance", "head_width")
    if any(given[name] for name in different) or given["heads"] != 1 or given["resample"] != "plain":
        return None
    state, entries = without_class(network), diffusers.unet(network)
    norms = [module for module in network.modules() if isinstance(module, nn.GroupNorm)]
    if len({norm.num_groups for norm in norms}) == 1:
        channels = [width_of(stages_of(level)[0]) for level in network.down.values()]
        return Twin(config(given, channels, norms[0].num_groups, 0), write_state(state, entries))
    sizes = {norm.num_channels // norm.num_groups for norm in norms}
    walked = [*walk(network)]
    layout = Layout(max(one.slots_needed for one in walked), sizes.pop())
    if sizes or layout.width > WIDEST:
        return None
    waves = given["width"] // 2
    shift = layout.width // 2 - waves  # so that the first frequencies are those of the narrower embedding
    padded = config(given, [layout.width] * len(given["multipliers"]), layout.width // layout.size, shift)
    return Twin(padded, write_state(spread_state(network, walked, state, layout, waves), entries))


def settings(network: UNet) -> dict[str, Any]:
    """Return the arguments of a U-Net, with their defaults."""
    args, kwargs = network.constructed
    bound = inspect.signature(UNet).bind(*args, **kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)


def without_class(network: UNet) -> dict[str, Tensor]:
    """Return the state with the null label's embedding in the last bias of the time embedding."""
    state = dict(network.state_dict())
    null = state.pop("embedding.label.table.weight", None)
    if null is not None:
        state["embedding.time.second.bias"] = state["embedding.time.second.bias"] + null[-1]
    return state


def config(given: Mapping[str, Any], channels: Sequence[int], groups: int, shift: int) -> dict[str, Any]:
    """Return the arguments of a UNet2DModel.

    Args:
        channels: of each level.
        shift: the number of frequencies beyond those of the network here.
    """
    inputs, height, width = given["shape"]
    attends = [min(height, width) >> level in given["attention"] for level in range(len(channels))]
    return {
        "sample_size": height if height == width else [height, width],
        "in_channels": inputs,
        "out_channels": inputs,
        "block_out_channels": list(channels),
        "layers_per_block": given["blocks"],
        "down_block_types": ["AttnDownBlock2D" if one else "DownBlock2D" for one in attends],
        "up_block_types": ["AttnUpBlock2D" if one else "UpBlock2D" for one in reversed(attends)],
        "attention_head_dim": None,
        "norm_num_groups": groups,
        "attn_norm_num_groups": groups,
        "norm_eps": given["norm_eps"],
        "downsample_padding": 0 if given["end_padding"] else 1,
        "flip_sin_to_cos": given["waves"] == "adm",
        "freq_shift": shift + (0 if given["waves"] == "adm" else 1),
        "resnet_time_scale_shift": "scale_shift" if given["scale_shift"] else "default",
    }


# -------------------------------------------------------------------------------------------------------------- padding


@dataclass(frozen=True)
class Channels:
    """Channels of a map, and where their copies begin in a map of the wide network."""

    count: int
    start: int = 0

    @property
    def end(self) -> int:
        return self.start + 2 * self.count


@dataclass(frozen=True)
class Layout:
    """The places of a narrow network's channels in a wide one.

    Args:
        width: channels of every map of the wide network.
        size: channels of a group.
    """

    width: int
    size: int

    def slots(self, *maps: Channels) -> list[int]:
        """Return the channel in each slot, -1 for none, of a map or of several side by side."""
        found, first = [], 0
        for one in maps:
            groups = range(first, first + one.count, self.size)
            copies = [group + i for group in groups for _ in range(2) for i in range(self.size)]
            found += [-1] * one.start + copies + [-1] * (self.width - one.end)
            first += one.count
        return found

    def plain(self, start: int, count: int, width: int | None = None) -> list[int]:
        """Return channels in order, each once."""
        return [*range(start, start + count), *[-1] * ((width or self.width) - count)]


@dataclass(frozen=True)
class Layer:
    """A stage, or a convolution between two levels, with the maps that it reads and writes.

    Args:
        following: of a convolution of the encoder, the next level's first stage where that has another width.
    """

    name: str
    inputs: tuple[Channels, ...]
    output: Channels
    stage: Stage | None = None
    following: str | None = None

    @property
    def slots_needed(self) -> int:
        return max(one.end for one in (*self.inputs, self.output))


def walk(network: UNet) -> Iterator[Layer]:
    """Yield the layers of a U-Net in the order of its forward pass."""
    now = Channels(int(network.first.out_channels))
    skips, levels = [now], [(f"down.{name}", level) for name, level in network.down.items()]
    for (name, level), after in zip(levels, [*levels[1:], None], strict=True):
        for i, stage in enumerate(stages_of(level)):
            count = width_of(stage)
            output = now if count == now.count else Channels(count, now.end)
            yield Layer(f"{name}.stages.{i}", (now,), output, stage)
            now = output
            skips.append(now)
        if after is not None:
            changes = width_of(stages_of(after[1])[0]) != now.count
            output = Channels(now.count)
            yield Layer(
                f"{name}.resample.convolution", (now,), output, None, f"{after[0]}.stages.0" if changes else None
            )
            now = output
            skips.append(now)
    for i, stage in enumerate(stages_of(network.middle)):
        yield Layer(f"middle.{i}", (now,), now, stage)
    for name, level in network.up.items():
        for i, stage in enumerate(stages_of(level)):
            output = Channels(width_of(stage))
            yield Layer(f"up.{name}.stages.{i}", (now, skips.pop()), output, stage)
            now = output
        if level.resample is not None:
            yield Layer(f"up.{name}.resample.convolution", (now,), now)


def width_of(stage: Stage) -> int:
    return int(stage.block.second.out_channels)


def spread(value: Tensor, rows: Sequence[int], columns: Sequence[int] | None = None) -> Tensor:
    """Return a tensor with its rows in slots; of columns, only the first copy of each channel has weight."""
    index = torch.tensor(rows)
    found = value[index.clamp(min=0)]
    found[index < 0] = 0
    if columns is None:
        return found
    seen: set[int] = set()
    once = torch.tensor([-1 if c in seen or seen.add(c) else c for c in columns])
    found = found[:, once.clamp(min=0)]
    found[:, once < 0] = 0
    return found


def spread_state(
    network: UNet, layers: Sequence[Layer], state: Mapping[str, Tensor], layout: Layout, waves: int
) -> dict[str, Tensor]:
    """Return the state of the wide network, by our names."""
    wide, found = 4 * layout.width, dict(state)
    hidden, half = layout.plain(0, state["embedding.time.first.bias"].shape[0], wide), layout.width // 2

    def put(name: str, rows: Sequence[int], columns: Sequence[int] | None = None) -> None:
        if f"{name}.weight" in state:
            found[f"{name}.weight"] = spread(state[f"{name}.weight"], rows, columns)
            found[f"{name}.bias"] = spread(state[f"{name}.bias"], rows)

    put("embedding.time.first", hidden, layout.plain(0, waves, half) + layout.plain(waves, waves, half))
    put("embedding.time.second", hidden, hidden)
    ends = layout.slots(Channels(int(network.first.out_channels)))
    put("first", ends, range(network.first.in_channels))
    put("norm", layout.slots(layers[-1].output))
    put("last", range(network.last.out_channels), layout.slots(layers[-1].output))
    for layer in layers:
        name, inner, outer = layer.name, layout.slots(*layer.inputs), layout.slots(layer.output)
        if layer.stage is None:
            put(name, outer, inner)
            if layer.following:
                add_shortcut(found, state, layer, layout)
            continue
        count = layer.output.count
        put(f"{name}.block.norm", inner)
        put(f"{name}.block.first", outer, inner)
        doubled = state[f"{name}.block.condition.linear.bias"].shape[0] > count
        shifts = [c + count if c >= 0 else c for c in outer] if doubled else []
        put(f"{name}.block.condition.linear", outer + shifts, hidden)
        put(f"{name}.block.condition.norm", outer)
        put(f"{name}.block.second", outer, outer)
        shortcut = f"{name}.block.shortcut"
        if len(layer.inputs) == 1:  # the identity there, see `add_shortcut`
            found = {key: value for key, value in found.items() if not key.startswith(shortcut)}
        elif f"{shortcut}.weight" in state:
            put(shortcut, outer, inner)
        else:
            found[f"{shortcut}.weight"] = spread(torch.eye(count)[:, :, None, None], outer, inner)
            found[f"{shortcut}.bias"] = torch.zeros(layout.width)
        put(f"{name}.attention.norm", outer)
        put(f"{name}.attention.qkv", [c for i in range(3) for c in layout.plain(i * count, count)], outer)
        put(f"{name}.attention.project", outer, layout.plain(0, count))
        for kind in ("weight", "bias"):
            if f"{name}.attention.qkv.{kind}" in found:  # attention divides by the root of the wider width
                found[f"{name}.attention.qkv.{kind}"][: layout.width] *= (layout.width / count) ** 0.5
    return found


def add_shortcut(found: dict[str, Tensor], state: Mapping[str, Tensor], layer: Layer, layout: Layout) -> None:
    """Let a convolution between levels also write the shortcut of the next level's first stage."""
    mix = state[f"{layer.following}.block.shortcut.weight"].flatten(1).double()
    weight, bias = (state[f"{layer.name}.{kind}"].double() for kind in ("weight", "bias"))
    both = torch.einsum("oc,cikl->oikl", mix, weight).float()
    offset = (mix @ bias + state[f"{layer.following}.block.shortcut.bias"].double()).float()
    rows = layout.slots(Channels(len(mix), layer.output.end))
    found[f"{layer.name}.weight"] += spread(both, rows, layout.slots(*layer.inputs))
    found[f"{layer.name}.bias"] += spread(offset, rows)
