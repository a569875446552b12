"""The formats of other programs: from a file to its tensors and the config that they belong to."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mezzotint.errors import ConfigError, DataError
from mezzotint.runs.published import diffusers, dit, edm, guided, lucidrains
from mezzotint.runs.published.description import (
    EDM_CHOICES,
    Description,
    Settings,
    multipliers,
    shape_of,
    split_off,
    without_prefix,
)
from mezzotint.runs.published.diffusers_config import network_settings, schedule_settings
from mezzotint.runs.published.files import read_json, read_tensors

PICKLED = (
    "Convert it where it comes from, in a checkout of its own program that you trust: `import pickle, torch; "
    "torch.save(pickle.load(open(FILE, 'rb'))['ema'].state_dict(), 'weights.pt')`, and import weights.pt"
)
Reader = Callable[[Path, Mapping[str, Any]], Description]  # (source, words of the user) -> description


# --------------------------------------------------------------------------------------------------------- EDM and EDM2


def of_edm(source: Path, given: Mapping[str, Any]) -> Description:
    """EDM: DDPM++, NCSN++ or ADM, preconditioned."""
    raw = without_prefix(read_tensors(source, PICKLED), "model.")
    tensors, unused = split_off(raw, "resample_filter")
    filters = taps_of(raw, unused)
    sides = edm_sides(tensors)
    side, label = f"{sides[0]}x{sides[0]}", tensors.get("map_label.weight")
    width, channels = shape_of(tensors, f"enc.{side}_conv.weight")[:2]
    settings: Settings = {
        "data.shape": [channels, sides[0], sides[0]],
        "data.classes": 0 if label is None else label.shape[1],
        "network.augmentation": 0 if "map_augment.weight" not in tensors else tensors["map_augment.weight"].shape[1],
        "network.dropout": 0.0,
        **edm_levels(tensors, sides, "conv1"),
    }
    if "out_norm.weight" in tensors:
        width = shape_of(tensors, "map_layer0.weight")[1]
        settings |= {"network.learned_variance": False, "network.head_width": 64, "network.scale_shift": True}
        settings |= {"network.resample": "residual", "network.waves": "adm"}
        choices, entries = {"network": "adm_imagenet64"}, edm.adm
    else:
        residual = any("aux_residual" in name for name in tensors)
        settings |= {"network.features": "fourier" if "map_noise.freqs" in tensors else "sinusoidal"}
        settings |= {"network.encoder": "residual" if residual else "standard"}
        settings |= {"network.decoder": "skip" if sum("aux_conv.weight" in n for n in tensors) > 1 else "standard"}
        settings |= {"network.taps": filters or ([1, 3, 3, 1] if residual else [1, 1])}
        choices, entries = {"network": "edm_ddpmpp"}, edm.song_unet
    settings |= scaled_levels(settings.pop("widths"), width)
    return Description(tensors, EDM_CHOICES | choices, settings, entries, unused=unused)


def taps_of(tensors: Mapping[str, Tensor], names: list[str]) -> list[int]:
    """Return the taps of the saved resampling filter, in units of its smallest; empty without one."""
    if not names:
        return []
    line = tensors[names[0]].double().sum(dim=(0, 1, 2))
    return [round(float(tap)) for tap in line / line.min()]


def of_edm2(source: Path, given: Mapping[str, Any]) -> Description:
    """EDM2: the magnitude-preserving U-Net, preconditioned."""
    tensors = without_prefix(read_tensors(source, PICKLED), "unet.")
    tensors, unused = split_off(tensors, "logvar_", "resample_filter")
    sides = edm_sides(tensors)
    width, channels = shape_of(tensors, f"enc.{sides[0]}x{sides[0]}_conv.weight")[:2]
    label = tensors.get("emb_label.weight")
    settings: Settings = {
        "data.shape": [channels - 1, sides[0], sides[0]],
        "data.classes": 0 if label is None else label.shape[1],
        "network.dropout": 0.0,
        **edm_levels(tensors, sides, "conv_res1"),
    }
    settings |= scaled_levels(settings.pop("widths"), width)
    choices = EDM_CHOICES | {"network": "edm2", "loss_weight": "uncertainty"}
    return Description(tensors, choices, settings, edm.edm2, unused=unused)


def edm_sides(tensors: Mapping[str, Tensor]) -> list[int]:
    """Return the sizes of the levels, largest first."""
    found = {int(match[1]) for name in tensors if (match := re.match(r"enc\.(\d+)x\d+_", name))}
    if not found:
        raise DataError(f"it has no levels enc.32x32_...; it begins with {', '.join(list(tensors)[:3])}")
    return sorted(found, reverse=True)


def edm_levels(tensors: Mapping[str, Tensor], sides: list[int], layer: str) -> Settings:
    """Return blocks, channels and attention of the levels."""
    first = {side: f"enc.{side}x{side}_block0" for side in sides}
    counts = {
        sum(name.startswith(f"enc.{side}x{side}_block") and name.endswith(f"{layer}.weight") for name in tensors)
        for side in sides
    }
    if len(counts) != 1:
        raise DataError("its levels have different numbers of blocks, which no network here has")
    attends = [side for side in sides if any(f"{first[side]}.{q}.weight" in tensors for q in ("qkv", "attn_qkv"))]
    widths = [shape_of(tensors, f"{first[side]}.{layer}.weight")[0] for side in sides]
    return {"network.blocks": counts.pop(), "network.attention": attends, "widths": widths}


def scaled_levels(widths: list[int], width: int) -> Settings:
    return {"network.width": width, "network.multipliers": multipliers(widths, width)}


# ----------------------------------------------------------------------- improved-diffusion, guided-diffusion


def of_guided(source: Path, given: Mapping[str, Any]) -> Description:
    """guided-diffusion: ADM."""
    return described_unet(read_tensors(source), given, 32, adm=True)


def of_improved(source: Path, given: Mapping[str, Any]) -> Description:
    """improved-diffusion: IDDPM."""
    return described_unet(read_tensors(source), given, 16, adm=False)


def described_unet(tensors: dict[str, Tensor], given: Mapping[str, Any], top: int, adm: bool) -> Description:
    """Describe a U-Net. Size, heads and schedule are not in the tensors: they are those of the published ones.

    Args:
        top: the size of the first level that attends.
    """
    settings = unet_levels(tensors)
    first = settings.pop("attending")
    side = top << first[0] if first else 64
    shape = given.get("data.shape", [settings.pop("channels"), side, side])
    settings.pop("channels", None)
    side = min(shape[1:])
    settings |= {"data.shape": shape, "network.attention": [side >> level for level in first], "network.waves": "adm"}
    four = not adm or settings["network.multipliers"] == [1, 1, 2, 3, 4]
    settings |= {"network.heads": 4 if four else 1, "network.head_width": None if four else 64}
    settings |= {"network.dropout": 0.0, "schedule.steps": 1000 if adm else 4000}
    schedule = "linear" if adm and side != 64 else "cosine"
    new_order = str(given.get("attention_order", "new" if adm and side == 64 else "legacy")) == "new"
    choices = {"network": "adm_imagenet64", "schedule": schedule, "target": "epsilon", "c_noise": "auto"}
    choices |= {"c_in": "none", "sampler": "ddpm", "grid": "linspace", "guidance": "clip_epsilon", "loss": "squared"}
    if not adm:
        choices["c_noise"] = "scaled_step_index"  # of 4,000 steps, as if they were 1,000
    if settings["network.learned_variance"]:
        choices["loss"] = "hybrid"
        settings["sampler.variance._target_"] = "mezzotint.diffusion.LearnedRangeVariance"
    assumed = [f"data.shape={list(shape)}", f"schedule={schedule}", f"schedule.steps={settings['schedule.steps']}"]
    assumed += ["network.heads=4" if four else "network.head_width=64"]
    assumed += [f"attention_order={'new' if new_order else 'legacy'}"]
    return Description(tensors, choices, settings, lambda network: guided.unet(network, new_order), assumed)


def unet_levels(tensors: Mapping[str, Tensor]) -> Settings:
    """Return what the tensors say about levels and blocks."""
    width = shape_of(tensors, "time_embed.0.weight")[1]
    channels = shape_of(tensors, "input_blocks.0.0.weight")[1]
    outputs = {int(name.split(".")[1]) for name in tensors if name.startswith("output_blocks.")}
    plain = any(name.endswith(".op.weight") for name in tensors)
    pattern = r"output_blocks\.(\d+)\.[12]\." + ("conv.weight" if plain else r"in_layers\.0\.weight")
    levels = 1 + len({match[1] for name in tensors if (match := re.match(pattern, name))})
    blocks = len(outputs) // levels - 1
    firsts = [1 + level * (blocks + 1) for level in range(levels)]
    widths = [shape_of(tensors, f"input_blocks.{n}.0.out_layers.3.weight")[0] for n in firsts]
    scale_shift = shape_of(tensors, "input_blocks.1.0.emb_layers.1.weight")[0] == 2 * widths[0]
    label = tensors.get("label_emb.weight")
    return {
        "channels": channels,
        "data.classes": 0 if label is None else label.shape[0],
        "attending": [level for level, n in enumerate(firsts) if f"input_blocks.{n}.1.qkv.weight" in tensors],
        "network.blocks": blocks,
        "network.scale_shift": scale_shift,
        "network.resample": "plain" if plain else "residual",
        "network.learned_variance": shape_of(tensors, "out.2.weight")[0] == 2 * channels,
        **scaled_levels(widths, width),
    }


# ------------------------------------------------------------------------------------------------------------ diffusers


def of_diffusers(source: Path, given: Mapping[str, Any]) -> Description:
    """diffusers: the folder of a pipeline or of a UNet2DModel."""
    folder = next((place for place in (source / "unet", source) if (place / "config.json").is_file()), None)
    if folder is None:
        raise ConfigError(f"source={source}: give the folder of a pipeline, or of a UNet2DModel with its config.json")
    names = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
    file = next((folder / name for name in names if (folder / name).is_file()), None)
    if file is None:
        raise ConfigError(f"source={folder}: it has none of {', '.join(names)}")
    tensors = {diffusers.present_name(name): value for name, value in read_tensors(file).items()}
    settings, swapped = network_settings(read_json(folder / "config.json"), folder)
    places = (source / "scheduler", source, source.parent / "scheduler")
    scheduler = next((f for place in places if (f := place / "scheduler_config.json").is_file()), None)
    chosen, more, assumed = schedule_settings(read_json(scheduler) if scheduler else {}, scheduler)
    choices = {"network": "ddpm_cifar10", "c_noise": "auto", "c_in": "none", "guidance": "clip_epsilon"} | chosen
    return Description(tensors, choices, settings | more, lambda network: diffusers.unet(network, swapped), assumed)


FORMATS: dict[str, Reader] = {
    "diffusers": of_diffusers,
    "guided_diffusion": of_guided,
    "improved_diffusion": of_improved,
    "edm": of_edm,
    "edm2": of_edm2,
    "dit": dit.of_dit,
    "sit": dit.of_sit,
    "lucidrains": lucidrains.of_lucidrains,
}
