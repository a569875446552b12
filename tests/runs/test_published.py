"""Weights of other programs: second writings and diffusers give the same numbers, and code in a file is refused."""

import os
import pickle
import zipfile
from argparse import Namespace
from pathlib import Path

import dit_reference
import edm_reference
import guided_reference
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mezzotint.diffusion import DDIM, Denoiser, Epsilon, Leading, LinearSchedule, sample
from mezzotint.errors import ConfigError, DataError
from mezzotint.networks import DiT, EDM2UNet, SongUNet, UNet
from mezzotint.runs.published import diffusers as of_diffusers
from mezzotint.runs.published import dit, edm, guided
from mezzotint.runs.published.entries import Entries, Interleaved, SwappedHalves, WithoutNull, read_state, write_state
from mezzotint.runs.published.files import read_tensors
from mezzotint.runs.published.formats import FORMATS

SONG = {"shape": (3, 16, 16), "classes": 4, "width": 16, "multipliers": (1, 2), "blocks": 2, "attention": (8,)}
ADM = {"shape": (3, 64, 64), "classes": 4, "width": 32, "multipliers": (1, 2, 4), "blocks": 2, "attention": (32, 16)}
ADM |= {"head_width": 64, "scale_shift": True, "resample": "residual", "learned_variance": True, "waves": "adm"}
IDDPM = {"shape": (3, 32, 32), "width": 32, "multipliers": (1, 2, 4), "blocks": 1, "attention": (16, 8), "heads": 4}
IDDPM |= {"scale_shift": True, "learned_variance": True, "waves": "adm"}

DIT = {"shape": (4, 8, 8), "classes": 5, "width": 64, "depth": 3, "head_width": 32, "patch": 2, "mlp_ratio": 3.0}


def random_file(network: nn.Module, entries: Entries, prefix: str = "") -> dict[str, Tensor]:
    """Random tensors under the names of the file, in its shapes."""
    torch.manual_seed(1)
    shapes = write_state(network.state_dict(), entries)
    return {prefix + name: torch.randn(tensor.shape) * 0.1 for name, tensor in shapes.items()}


def imported(format: str, tensors: dict[str, Tensor], network: nn.Module, folder: Path) -> nn.Module:
    """The network with the weights of a file."""
    file = folder / "weights.pt"
    torch.save(tensors, file)
    found = FORMATS[format](file, {})
    network.load_state_dict(read_state(found.tensors, network, found.entries(network)))
    return network.eval()


def one_hot(label: Tensor) -> Tensor:
    return functional.one_hot(label, 4).float()


# ------------------------------------------------------------------------------------------------------ second writings


@pytest.mark.parametrize("taps", [(1, 1), (1, 3, 3, 1)], ids=str)
def test_edm(taps, tmp_path):
    more = {"features": "fourier", "encoder": "residual", "taps": taps} if len(taps) == 4 else {}
    network = SongUNet(**SONG, augmentation=9, **more)
    tensors = random_file(network, edm.song_unet(network), "model.")
    network = imported("edm", tensors, network, tmp_path)
    x, time, label, augment = (
        torch.randn(2, 3, 16, 16),
        torch.tensor([-1.0, 0.4]),
        torch.tensor([3, 1]),
        torch.randn(2, 9),
    )
    state = {name.removeprefix("model."): value for name, value in tensors.items()}
    expected = edm_reference.song_unet(state, x, time, one_hot(label), augment, list(taps))
    with torch.no_grad():
        torch.testing.assert_close(network(x, time, label, augment), expected, rtol=1e-5, atol=1e-5)


def test_edm2(tmp_path):
    network = EDM2UNet((3, 16, 16), classes=4, width=64, multipliers=(1, 2), blocks=2, attention=(8,))
    tensors = random_file(network, edm.edm2(network), "unet.")
    tensors["logvar_linear.weight"] = torch.randn(1, 128)
    network = imported("edm2", tensors, network, tmp_path)
    x, time, label = torch.randn(2, 3, 16, 16), torch.tensor([-1.0, 0.4]), torch.tensor([3, 1])
    state = {name.removeprefix("unet."): value for name, value in tensors.items()}
    with torch.no_grad():
        expected = edm_reference.edm2(state, x, time, one_hot(label))
        torch.testing.assert_close(network(x, time, label), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("order", ["new", "legacy"])
@pytest.mark.parametrize(
    ("format", "settings", "heads"),
    [("guided_diffusion", ADM, lambda channels: channels // 64), ("improved_diffusion", IDDPM, lambda channels: 4)],
    ids=["ADM", "IDDPM"],
)
def test_guided_and_improved_diffusion(order, format, settings, heads, tmp_path):
    network = UNet(**{**settings, "groups": guided_reference.GROUPS})
    tensors = random_file(network, guided.unet(network))
    file = tmp_path / "weights.pt"
    torch.save(tensors, file)
    found = FORMATS[format](file, {"attention_order": order})
    network.load_state_dict(read_state(found.tensors, network, found.entries(network)))
    x, time = torch.randn(2, *settings["shape"]), torch.tensor([0.0, 612.0])
    label = torch.tensor([3, 1]) if "classes" in settings else None
    expected = guided_reference.unet(tensors, x, time, label, heads, order == "new")
    assert expected.shape[1] == 6
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(x, time, label), expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("learned", [True, False], ids=["eps and variance", "eps"])
def test_dit(learned, tmp_path):
    network = DiT(**DIT, learned_variance=learned)
    tensors = random_file(network, dit.dit(network)) | {"pos_embed": dit_reference.positions(64, 4)}
    network = imported("dit", tensors, network, tmp_path)
    x, time, label = torch.randn(3, 4, 8, 8), torch.tensor([0.0, 17.0, 999.0]), torch.tensor([3, 0, 5])
    expected = dit_reference.transformer(tensors, x, time, label, heads=2)
    assert expected.shape[1] == (8 if learned else 4)
    ours = torch.where(label == 5, -1, label)  # the last row is that of no label
    with torch.no_grad():
        torch.testing.assert_close(network(x, time, ours), expected, rtol=1e-5, atol=1e-5)


def test_sit_runs_backwards_in_time_and_drops_half_of_its_outputs(tmp_path):
    """Its path is t x0 + (1 - t) eps with the velocity x0 - eps, ours (1 - t) x0 + t eps with eps - x0."""
    network = DiT(**DIT)
    tensors = random_file(network, dit.sit(network)) | {"pos_embed": dit_reference.positions(64, 4)}
    for kind in ("weight", "bias"):
        rows = tensors[f"final_layer.linear.{kind}"]
        tensors[f"final_layer.linear.{kind}"] = torch.randn_like(rows) * 0.1  # those that are not used, too
    network = imported("sit", {"ema": tensors, "args": None}, network, tmp_path)
    x, time, label = torch.randn(4, 4, 8, 8), torch.tensor([0.0, 0.3, 0.71, 1.0]), torch.tensor([3, 0, 1, 5])
    velocity = dit_reference.transformer(tensors, x, time, label, heads=2)[:, :4]
    with torch.no_grad():
        found = network(x, 1 - time, torch.where(label == 5, -1, label))
    torch.testing.assert_close(found, -velocity, rtol=1e-5, atol=1e-5)


def test_files_of_dit_and_sit_that_do_not_fit_are_refused(tmp_path):
    network = DiT(**DIT)
    tensors = random_file(network, dit.dit(network))
    with pytest.raises(DataError, match="pos_embed is not the fixed sines and cosines of a square"):
        imported("dit", tensors | {"pos_embed": torch.randn(1, 16, 64)}, network, tmp_path)
    with pytest.raises(DataError, match="no unused half, which every file of SiT has: try format=dit"):
        imported("sit", tensors, network, tmp_path)


# ------------------------------------------------------------------------------------------------------- what is found


def test_the_settings_of_a_network_are_read_off_its_tensors(tmp_path):
    """Each network is built again from what was found, with the same tensors."""
    cases = {
        "edm": (SongUNet(**SONG, features="fourier", encoder="residual", taps=(1, 3, 3, 1)), edm.song_unet, "model."),
        "edm2": (EDM2UNet((3, 16, 16), classes=4, width=64, multipliers=(1, 2), attention=(8,)), edm.edm2, ""),
        "guided_diffusion": (UNet(**ADM), guided.unet, ""),
        "improved_diffusion": (UNet(**IDDPM), guided.unet, ""),
        "dit": (DiT(**DIT | {"head_width": 64, "shape": (4, 32, 32)}, learned_variance=True), dit.dit, ""),
        "sit": (DiT(**DIT | {"head_width": 64, "shape": (4, 32, 32)}), dit.sit, "module."),
    }
    for format, (network, entries, prefix) in cases.items():
        file = tmp_path / f"{format}.pt"
        torch.save(random_file(network, entries(network), prefix), file)
        found = FORMATS[format](file, {})
        settings = {key.removeprefix("network."): v for key, v in found.settings.items() if key.startswith("network.")}
        data = {"shape": found.settings["data.shape"], "classes": found.settings["data.classes"]}
        again = type(network)(**data, **settings)
        read_state(found.tensors, again, found.entries(again))
        assert tuple(data["shape"]) == network.shape
        same = {name: tensor.shape for name, tensor in network.state_dict().items()}
        assert same == {name: tensor.shape for name, tensor in again.state_dict().items()}


def test_adm_in_the_files_of_edm_is_told_from_ddpmpp(tmp_path):
    network = UNet(**{**ADM, "learned_variance": False, "augmentation": 9})
    file = tmp_path / "weights.pt"
    torch.save(random_file(network, edm.adm(network), "model."), file)
    found = FORMATS["edm"](file, {})
    assert found.choices["network"] == "adm_imagenet64"
    assert found.settings["network.head_width"] == 64
    assert found.settings["network.attention"] == [32, 16]
    read_state(found.tensors, network, found.entries(network))


def test_layouts_are_permutations_and_their_inverses():
    q, k, v = (torch.full((4, 1), value) + torch.arange(4.0)[:, None] / 10 for value in (1.0, 2.0, 3.0))
    ours = torch.cat([q, k, v])
    heads_first = torch.cat([q[:2], k[:2], v[:2], q[2:], k[2:], v[2:]])
    innermost = torch.stack([q, k, v], 1).flatten(0, 1)
    for layout, theirs in ((Interleaved(2), heads_first), (Interleaved(2, innermost=True), innermost)):
        assert torch.equal(layout.read([theirs]), ours)
        assert torch.equal(layout.write(ours)[0], theirs)
    table = torch.randn(3, 5)
    assert torch.equal(WithoutNull().read([table])[:3], table)
    assert torch.equal(WithoutNull(transposed=True).write(WithoutNull(transposed=True).read([table]))[0], table)
    assert torch.equal(SwappedHalves().read([torch.tensor([[1.0, 2, 3, 4]])]), torch.tensor([[3.0, 4, 1, 2]]))


def test_a_file_that_does_not_fit_is_refused_with_the_tensor():
    network = SongUNet(**SONG)
    entries = edm.song_unet(network)
    tensors = random_file(network, entries)
    name = "map_layer1.bias"
    with pytest.raises(ConfigError, match=f"has no {name}, of which embedding.second.bias"):
        read_state({key: value for key, value in tensors.items() if key != name}, network, entries)
    with pytest.raises(ConfigError, match=rf"{name} is \(3,\) in the file; embedding.second.bias of the network is"):
        read_state(tensors | {name: torch.zeros(3)}, network, entries)
    with pytest.raises(ConfigError, match=r"also has more.weight"):
        read_state(tensors | {"more.weight": torch.zeros(3)}, network, entries)


# ------------------------------------------------------------------------------------------------------------- safety


class Hostile:
    """A pickle of it would make a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return os.system, (f"touch {self.file}",)


@pytest.mark.parametrize("plain", [True, False], ids=["pickle", "archive"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_with_code_is_refused_with_the_reason_and_the_way_out(plain, protocol, tmp_path):
    file, mark = tmp_path / "network.pkl", tmp_path / "executed"
    content = {"ema": Hostile(mark)}
    if plain:
        file.write_bytes(pickle.dumps(content, protocol))
    else:
        torch.save(content, file, pickle_protocol=protocol)
    with pytest.raises(DataError, match=r"would execute code when it is loaded \(posix.system\).*torch.save"):
        FORMATS["edm"](file, {})
    assert not mark.exists()


def test_files_without_tensors_are_refused(tmp_path):
    for name, content in (("a.pt", {"epoch": 3}), ("b.pt", [torch.zeros(2)]), ("c.pt", torch.zeros(2))):
        torch.save(content, tmp_path / name)
        with pytest.raises(DataError, match="no tensors by name"):
            read_tensors(tmp_path / name)
    (tmp_path / "d.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError, match="not a safetensors file"):
        read_tensors(tmp_path / "d.safetensors")
    with zipfile.ZipFile(tmp_path / "e.pt", "w") as archive:
        archive.writestr("x", "y")
    (tmp_path / "g.pt").write_bytes(b"nothing")
    for name in ("e.pt", "g.pt"):
        with pytest.raises(DataError, match=f"source=.*{name}: "):
            read_tensors(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "h.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("h/data.pkl", bytes(10_000))
    with pytest.raises(DataError, match="not stored as torch stores it"):
        read_tensors(tmp_path / "h.pt")
    with pytest.raises(ConfigError, match="no such file"):
        read_tensors(tmp_path / "f.pt")


def test_the_arguments_of_a_training_script_beside_the_tensors_are_no_code(tmp_path):
    """DiT and SiT keep them in their checkpoints, as an `argparse.Namespace`."""
    torch.save({"ema": {"w": torch.ones(1)}, "args": Namespace(epochs=3)}, tmp_path / "a.pt")
    assert read_tensors(tmp_path / "a.pt")["w"] == 1


def test_the_average_is_taken_of_several_states(tmp_path):
    states = {"step": 3, "model": {"w": torch.zeros(1)}, "ema": {"w": torch.ones(1)}}
    torch.save(states, tmp_path / "a.pt")
    assert read_tensors(tmp_path / "a.pt")["w"] == 1
    torch.save({"state_dict": {"w": torch.zeros(1)}}, tmp_path / "b.pt")
    assert read_tensors(tmp_path / "b.pt")["w"] == 0


# ----------------------------------------------------------------------------------------------------------- diffusers


DDPM_CONFIG = {
    "sample_size": 16,
    "block_out_channels": (32, 64, 64),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "norm_num_groups": 8,
    "attn_norm_num_groups": 8,
}
CONFIGS = {
    "DDPM": {**DDPM_CONFIG, "attention_head_dim": None, "flip_sin_to_cos": False, "freq_shift": 1}
    | {"norm_eps": 1e-6, "downsample_padding": 0},
    "defaults": DDPM_CONFIG,
    "swapped": {**DDPM_CONFIG, "freq_shift": 1, "num_class_embeds": 4},
    "ADM": {**DDPM_CONFIG, "attention_head_dim": 16, "downsample_type": "resnet", "upsample_type": "resnet"}
    | {"down_block_types": ("ResnetDownsampleBlock2D", "AttnDownBlock2D", "AttnDownBlock2D")}
    | {"up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D")}
    | {"resnet_time_scale_shift": "scale_shift", "out_channels": 6},
}


@pytest.mark.filterwarnings("ignore")  # the other library's
@pytest.mark.parametrize("case", CONFIGS)
def test_diffusers_gives_the_same_numbers(case, tmp_path):
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    theirs = diffusers.UNet2DModel(**CONFIGS[case]).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.1)
    theirs.save_pretrained(tmp_path)
    found = FORMATS["diffusers"](tmp_path, {})
    settings = {key.removeprefix("network."): v for key, v in found.settings.items() if key.startswith("network.")}
    ours = UNet(found.settings["data.shape"], found.settings["data.classes"], **settings)
    ours.load_state_dict(read_state(found.tensors, ours, found.entries(ours)))
    x, time = torch.randn(3, 3, 16, 16), torch.tensor([0.0, 17.0, 999.0])
    label = torch.tensor([0, 3, 1]) if found.settings["data.classes"] else None
    with torch.no_grad():
        expected = theirs(x, time, label).sample
        torch.testing.assert_close(ours.eval()(x, time, label), expected, rtol=1e-5, atol=1e-5)
    written = write_state(ours.state_dict(), of_diffusers.unet(ours, swapped=case == "swapped"))
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(written[name], value, rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore")  # the other library's
def test_fifty_steps_of_ddim_are_those_of_diffusers(tmp_path):
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    network = diffusers.UNet2DModel(**CONFIGS["DDPM"]).eval()
    settings = {"beta_schedule": "linear", "clip_sample": False, "timestep_spacing": "leading"}
    scheduler = diffusers.DDIMScheduler(**settings)
    for model, folder in ((network, "unet"), (scheduler, "scheduler")):
        model.save_pretrained(tmp_path / folder)
    found = FORMATS["diffusers"](tmp_path, {})
    own = {key.removeprefix("network."): v for key, v in found.settings.items() if key.startswith("network.")}
    ours = UNet(found.settings["data.shape"], **own)
    ours.load_state_dict(read_state(found.tensors, ours, found.entries(ours)))
    assert found.choices["schedule"] == "linear"
    x = torch.randn(2, 3, 16, 16)
    drawn = sample(Denoiser(ours.eval(), LinearSchedule(), Epsilon()), DDIM(), Leading(50), x)
    scheduler.set_timesteps(50)
    with torch.no_grad():
        for t in scheduler.timesteps:
            x = scheduler.step(network(x, t).sample, t, x).prev_sample
    torch.testing.assert_close(drawn, x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_class_name": "UNet2DConditionModel"}, "it is a UNet2DConditionModel"),
        ({"act_fn": "gelu"}, "act_fn='gelu' is not supported"),
        ({"freq_shift": 21}, "freq_shift=21 is not supported"),
        ({"down_block_types": ["KDownBlock2D"]}, "blocks of type KDownBlock2D"),
        ({"up_block_types": ["UpBlock2D", "UpBlock2D", "AttnUpBlock2D"]}, "attention in other levels"),
    ],
    ids=str,
)
def test_a_model_of_diffusers_that_is_not_the_same_is_refused(change, message, tmp_path):
    import json

    (tmp_path / "config.json").write_text(json.dumps({**DDPM_CONFIG, "_class_name": "UNet2DModel", **change}))
    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(b"")
    torch.save({"w": torch.zeros(1)}, tmp_path / "diffusion_pytorch_model.bin")
    with pytest.raises(ConfigError, match=message):
        FORMATS["diffusers"](tmp_path, {})
