"""Files of denoising-diffusion-pytorch: a second writing and the package itself give the same numbers."""

from pathlib import Path

import lucidrains_reference
import pytest
import torch
from torch import Tensor, nn

from mezzotint.diffusion import CosineSchedule, LinearSchedule, SigmoidSchedule
from mezzotint.errors import DataError
from mezzotint.networks import LinearAttentionUNet
from mezzotint.runs.published.entries import read_state, write_state
from mezzotint.runs.published.formats import FORMATS
from mezzotint.runs.published.lucidrains import unet

SETTINGS = {"shape": (3, 16, 16), "width": 16, "multipliers": (1, 2, 3), "heads": 2, "head_width": 8}


def random_file(network: LinearAttentionUNet) -> dict[str, Tensor]:
    torch.manual_seed(1)
    shapes = write_state(network.state_dict(), unet(network))
    return {name: torch.randn(tensor.shape) * 0.15 for name, tensor in shapes.items()}


def imported(content: dict, folder: Path, shape: tuple[int, ...] = (3, 16, 16)):
    torch.save(content, folder / "model-1.pt")
    return FORMATS["lucidrains"](folder / "model-1.pt", {"data.shape": list(shape)})


def rebuilt(found) -> nn.Module:
    settings = {key.removeprefix("network."): v for key, v in found.settings.items() if key.startswith("network.")}
    network = LinearAttentionUNet(found.settings["data.shape"], **settings)
    network.load_state_dict(read_state(found.tensors, network, found.entries(network)))
    return network.eval()


def tables(betas: Tensor, weight: str) -> dict[str, Tensor]:
    """The tables of `GaussianDiffusion` that tell schedule and target."""
    kept = (1 - betas).cumprod(0)
    snr = kept / (1 - kept)
    clipped = snr.clamp(max=5)
    weights = {"epsilon": snr / snr, "clean": snr, "velocity": snr / (snr + 1), "min_snr": clipped / (snr + 1)}
    return {"betas": betas.float(), "alphas_cumprod": kept.float(), "loss_weight": weights[weight].float()}


@pytest.mark.parametrize("attention", [None, (8, 4)], ids=str)
def test_the_network_is_that_of_the_second_writing(attention, tmp_path):
    network = LinearAttentionUNet(**SETTINGS, attention=attention)
    tensors = random_file(network)
    ours = rebuilt(imported(tensors, tmp_path))
    x, time = torch.randn(3, 3, 16, 16), torch.tensor([0.0, 17.0, 999.0])
    with torch.no_grad():
        expected = lucidrains_reference.unet(tensors, x, time)
        torch.testing.assert_close(ours(x, time), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
    written = write_state(ours.state_dict(), unet(ours))
    assert written.keys() == tensors.keys()
    assert all(torch.equal(written[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize(
    ("schedule", "kind"),
    [("linear", LinearSchedule(100)), ("cosine", CosineSchedule(100)), ("sigmoid", SigmoidSchedule(100))],
)
@pytest.mark.parametrize("target", ["epsilon", "clean", "velocity", "min_snr"])
def test_schedule_and_target_are_read_off_the_tables(schedule, kind, target, tmp_path):
    network = LinearAttentionUNet(**SETTINGS)
    found = imported(random_file(network) | tables(kind.betas(), target), tmp_path)
    assert (found.choices["schedule"], found.settings["schedule.steps"]) == (schedule, 100)
    assert found.choices["target"] == target.replace("min_snr", "velocity")
    assert found.unused == ["betas", "alphas_cumprod", "loss_weight"]
    assert found.assumed == ["data.shape=[3, 16, 16]"]


def test_another_schedule_is_kept_as_a_table(tmp_path):
    betas = torch.linspace(0.01, 0.3, 10, dtype=torch.float64)
    found = imported(random_file(LinearAttentionUNet(**SETTINGS)) | tables(betas, "epsilon"), tmp_path)
    assert (found.choices["schedule"], found.choices["target"]) == ("tabulated", "epsilon")
    assert found.settings["schedule.values"] == pytest.approx(betas.tolist())


def test_the_average_in_a_checkpoint_of_its_trainer_is_taken(tmp_path):
    network = LinearAttentionUNet(**SETTINGS)
    tensors = {f"model.{name}": value for name, value in random_file(network).items()}
    tensors |= tables(CosineSchedule(20).betas(), "epsilon")
    average = {f"ema_model.{name}": 2 * value for name, value in tensors.items() if name != "betas"}
    average |= {"ema_model.betas": tensors["betas"]}
    ema = {"initted": torch.tensor(True), "step": torch.tensor(3), **average}
    ema |= {f"online_model.{name}": value for name, value in tensors.items()}
    content = {"step": 3, "model": tensors, "ema": ema, "opt": {"state": {}}, "scaler": None, "version": "2.3.4"}
    found = imported(content, tmp_path)
    assert torch.equal(found.tensors["final_conv.bias"], 2 * tensors["model.final_conv.bias"])
    rebuilt(found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time_mlp.0.weights": torch.zeros(8)}, "learned or random frequencies"),
        ({"init_conv.weight": torch.zeros(16, 6, 7, 7)}, "self_condition=True"),
        ({"init_conv.weight": torch.zeros(12, 3, 7, 7)}, "init_dim"),
    ],
    ids=["frequencies", "self_condition", "init_dim"],
)
def test_what_the_network_lacks_is_refused(change, message, tmp_path):
    with pytest.raises(DataError, match=message):
        imported(random_file(LinearAttentionUNet(**SETTINGS)) | change, tmp_path)


def test_the_package_gives_the_same_numbers(tmp_path):
    package = pytest.importorskip("denoising_diffusion_pytorch")
    torch.manual_seed(0)
    theirs = package.Unet(dim=16, dim_mults=(1, 2, 3), full_attn=(False, True, True), attn_heads=2).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.1)
    diffusion = package.GaussianDiffusion(theirs, image_size=16, objective="pred_noise", beta_schedule="cosine")
    found = imported(diffusion.state_dict(), tmp_path)
    assert (found.choices["schedule"], found.choices["target"]) == ("cosine", "epsilon")
    x, time = torch.randn(3, 3, 16, 16), torch.tensor([0, 17, 999])
    with torch.no_grad():
        expected = theirs(x, time)
        ours = rebuilt(found)(x, time.float())
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
