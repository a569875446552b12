"""The same numbers as an independent implementation (diffusers' UNet2DModel) that holds the same weights."""

import pytest
import torch

from mezzotint.networks import UNet

PARTS = {"norm1": "norm", "conv1": "first", "time_emb_proj": "condition.linear", "norm2": "condition.norm"}
PARTS |= {"conv2": "second", "conv_shortcut": "shortcut"}
WHOLE = {"conv_in": "first", "conv_norm_out": "norm", "conv_out": "last", "class_embedding": "embedding.label.table"}
WHOLE |= {"time_embedding.linear_1": "embedding.time.first", "time_embedding.linear_2": "embedding.time.second"}


def translate(theirs: dict[str, torch.Tensor], levels: int) -> dict[str, torch.Tensor]:
    """Their state under our names."""
    ours = {}
    for key, value in theirs.items():
        module, _, kind = key.rpartition(".")
        if module in WHOLE:
            ours[f"{WHOLE[module]}.{kind}"] = value
            continue
        section, *rest = module.split(".")
        if section == "mid_block":
            (part, index, *rest), place = rest, "middle"
            stage = f"middle.{index}"
        else:
            level, part, index, *rest = rest
            way, number = ("down", int(level)) if section == "down_blocks" else ("up", levels - 1 - int(level))
            place = f"{way}.level{number}"
            stage = f"{place}.stages.{index}"
        if part == "resnets":
            ours[f"{stage}.block.{PARTS[rest[0]]}.{kind}"] = value
        elif part.endswith("samplers"):
            ours[f"{place}.resample.{'convolution' if rest == ['conv'] else PARTS[rest[0]]}.{kind}"] = value
        elif rest == ["group_norm"]:
            ours[f"{stage}.attention.norm.{kind}"] = value
        elif rest == ["to_q"]:
            qkv = torch.cat([theirs[f"{module[:-1]}{name}.{kind}"] for name in "qkv"])
            ours[f"{stage}.attention.qkv.{kind}"] = qkv[:, :, None, None] if kind == "weight" else qkv
        elif rest == ["to_out", "0"]:
            ours[f"{stage}.attention.project.{kind}"] = value[:, :, None, None] if kind == "weight" else value
    return ours


CASES = {
    "DDPM": (
        {"multipliers": (1, 2, 2), "attention": (8,)},
        {"down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D")}
        | {"up_block_types": ("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"), "attention_head_dim": None},
    ),
    "ADM": (
        {"multipliers": (1, 2, 4), "attention": (8, 4), "scale_shift": True, "resample": "residual"}
        | {"head_width": 16, "classes": 4, "learned_variance": True},
        {"down_block_types": ("ResnetDownsampleBlock2D", "AttnDownBlock2D", "AttnDownBlock2D")}
        | {"up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D"), "attention_head_dim": 16}
        | {"downsample_type": "resnet", "upsample_type": "resnet", "resnet_time_scale_shift": "scale_shift"}
        | {"num_class_embeds": 5, "out_channels": 6},
    ),
}


@pytest.mark.filterwarnings("ignore")  # the other library's
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("size", [(16, 16), (16, 32)], ids=str)
def test_same_weights_give_the_same_image_as_diffusers(case, size):
    diffusers = pytest.importorskip("diffusers")
    settings, their_settings = CASES[case]
    torch.manual_seed(0)
    theirs = diffusers.UNet2DModel(
        block_out_channels=tuple(32 * multiplier for multiplier in settings["multipliers"]),
        layers_per_block=2,
        norm_num_groups=8,
        attn_norm_num_groups=8,
        flip_sin_to_cos=False,
        freq_shift=1,
        **their_settings,
    ).eval()
    ours = UNet((3, *size), width=32, blocks=2, groups=8, **settings).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    ours.load_state_dict(translate(theirs.state_dict(), levels=3))

    x, time = torch.randn(3, 3, *size), torch.tensor([0.0, 17.0, 999.0])
    label = torch.tensor([0, 3, -1]) if ours.embedding.label else None
    with torch.no_grad():
        expected = theirs(x, time, None if label is None else label % 5).sample
        torch.testing.assert_close(ours(x, time, label), expected, rtol=1e-5, atol=1e-5)
    assert expected.std() > 0.1
