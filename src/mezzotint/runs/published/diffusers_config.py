"""The configs of diffusers' UNet2DModel and schedulers as settings of ours."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mezzotint.errors import ConfigError

PLAIN = {"DownBlock2D", "AttnDownBlock2D", "UpBlock2D", "AttnUpBlock2D"}
RESIDUAL = {"ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D"}
NEEDED = {  # settings that only one value of is supported, which is also the default
    "act_fn": "silu",
    "center_input_sample": False,
    "mid_block_scale_factor": 1,
    "time_embedding_type": "positional",
    "add_attention": True,
    "class_embed_type": None,
}
TARGETS = {"epsilon": "epsilon", "sample": "clean", "v_prediction": "velocity"}
SCHEDULES = {
    "linear": "linear",
    "scaled_linear": "scaled_linear",
    "squaredcos_cap_v2": "cosine",
    "sigmoid": "sigmoid_beta",
}


def network_settings(config: Mapping[str, Any], folder: Path) -> tuple[dict[str, Any], bool]:
    """Return the settings of the network, and whether sines and cosines are swapped.

    Raises:
        ConfigError: the model has something that the U-Net here lacks.
    """
    where = f"{folder / 'config.json'}"
    kind = config.get("_class_name", "UNet2DModel")
    if kind != "UNet2DModel":
        raise ConfigError(f"{where}: it is a {kind}, and format=diffusers reads UNet2DModel")
    for key, needed in NEEDED.items():
        if config.get(key, needed) != needed:
            raise ConfigError(f"{where}: {key}={config[key]!r} is not supported; only {needed!r} is")
    down = list(config.get("down_block_types", ()))
    up = list(config.get("up_block_types", ()))
    if strange := sorted({*down, *up} - PLAIN - RESIDUAL):
        raise ConfigError(f"{where}: blocks of type {strange[0]} are not supported")
    channels, widths = config.get("in_channels", 3), list(config.get("block_out_channels", (224, 448, 672, 896)))
    attends = ["Attn" in name for name in down]
    if [*reversed(attends)] != ["Attn" in name for name in up]:
        raise ConfigError(f"{where}: attention in other levels of the decoder than of the encoder is not supported")
    size = config.get("sample_size") or 2 ** (len(widths) + 1)
    size = [size, size] if isinstance(size, int) else list(size)
    resampled = {resamples(name, config.get("downsample_type")) for name in down[:-1]}
    resampled |= {resamples(name, config.get("upsample_type")) for name in up[:-1]}
    if len(resampled) > 1:
        raise ConfigError(f"{where}: levels that resample by convolutions beside others by blocks are not supported")
    residual = resampled == {True}
    head_width = config.get("attention_head_dim", 8)
    shift, cosines = config.get("freq_shift", 0), config.get("flip_sin_to_cos", True)
    if shift not in (0, 1):
        raise ConfigError(
            f"{where}: freq_shift={shift} is not supported; only 0 and 1 are. Exports of small networks by "
            "format=diffusers have others: take the run itself, or its export by format=safetensors"
        )
    endpoint = shift == 1
    width = widths[0]
    settings = {
        "data.shape": [channels, *size],
        "data.classes": config.get("num_class_embeds") or 0,
        "network.width": width,
        "network.multipliers": [n // width if n % width == 0 else n / width for n in widths],
        "network.blocks": config.get("layers_per_block", 2),
        "network.attention": [min(size) >> level for level, attend in enumerate(attends) if attend],
        "network.heads": 1,
        "network.head_width": head_width,
        "network.groups": config.get("norm_num_groups", 32),
        "network.dropout": config.get("dropout", 0.0),
        "network.scale_shift": config.get("resnet_time_scale_shift", "default") == "scale_shift",
        "network.resample": "residual" if residual else "plain",
        "network.learned_variance": config.get("out_channels", channels) == 2 * channels,
        "network.waves": "ddpm" if endpoint else "adm",
        "network.norm_eps": float(config.get("norm_eps", 1e-5)),
        "network.end_padding": not residual and config.get("downsample_padding", 1) == 0,
    }
    return settings, cosines == endpoint


def resamples(block: str, kind: str | None) -> bool:
    """Return whether a block resamples by a residual block; those with attention do as the config says."""
    return block in RESIDUAL or ("Attn" in block and kind == "resnet")


def schedule_settings(config: Mapping[str, Any], file: Path | None) -> tuple[dict[str, str], dict[str, Any], list[str]]:
    """Return choices, settings and what was assumed of the schedule.

    Raises:
        ConfigError: a schedule or a target that has no counterpart here.
    """
    beta, target = config.get("beta_schedule", "linear"), config.get("prediction_type", "epsilon")
    if target in TARGETS and (listed := config.get("trained_betas")) is not None:
        choices = {"schedule": "tabulated", "target": TARGETS[target], "sampler": "ddim", "grid": "auto"}
        return choices, {"schedule.values": [float(value) for value in listed]}, []
    if beta not in SCHEDULES or target not in TARGETS:
        raise ConfigError(f"{file}: beta_schedule={beta!r}, prediction_type={target!r} has no counterpart here")
    choices = {"schedule": SCHEDULES[beta], "target": TARGETS[target], "sampler": "ddim", "grid": "auto"}
    steps = config.get("num_train_timesteps", 1000)
    settings: dict[str, Any] = {"schedule.steps": steps}
    if beta != "squaredcos_cap_v2":
        factor = steps / 1000  # schedules here scale both ends by 1000 / steps
        settings["schedule.beta_start"] = factor * config.get("beta_start", 1e-4)
        settings["schedule.beta_end"] = factor * config.get("beta_end", 0.02)
    return choices, settings, [] if file else ["schedule=linear", "target=epsilon"]
