"""Exports hold the same network: traced graphs, safetensors with a config, and pipelines of diffusers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from mezzotint import (
    DDIM,
    DDPM,
    CosineSchedule,
    Denoiser,
    RectifiedFlowSchedule,
    TabulatedSchedule,
    Trailing,
    Velocity,
    sample,
)
from mezzotint.errors import ConfigError, DataError
from mezzotint.instantiate.nodes import node_of
from mezzotint.networks import (
    MLP,
    DiT,
    IntervalCondition,
    JiT,
    LinearAttentionUNet,
    LowResolution,
    MultiHotCondition,
    TextCondition,
    UNet,
    UViT,
    VectorCondition,
)
from mezzotint.runs.exports.formats import BATCHES, ONNX, Exported, Safetensors, TorchExport, input_names, inputs
from mezzotint.runs.exports.pipeline import DiffusersPipeline
from mezzotint.runs.exports.unet2d import twin
from mezzotint.runs.load import load
from mezzotint.runs.published.entries import read_state
from mezzotint.runs.published.formats import FORMATS

DIGITS = {"shape": (1, 8, 8), "classes": 10, "width": 32, "multipliers": (1, 2), "blocks": 1, "attention": ()}
UNETS: dict[str, dict[str, Any]] = {
    "digits": DIGITS,
    "attention": DIGITS | {"attention": (8, 4), "blocks": 2, "classes": 0},
    "scale and shift": DIGITS | {"scale_shift": True, "width": 16, "multipliers": (1, 2, 3)},
    "settings of imported weights": DIGITS
    | {"groups": 8, "waves": "adm", "norm_eps": 1e-6, "end_padding": True, "classes": 0},
    "small, other waves": DIGITS | {"waves": "adm", "norm_eps": 1e-3, "end_padding": True},
    "one number of groups": {
        "shape": (3, 16, 16),
        "width": 64,
        "multipliers": (1, 2),
        "groups": 8,
        "blocks": 1,
        "attention": (),
    },
}


SMALL = {"shape": (1, 8, 8), "classes": 3, "width": 16}
ALL = {
    "season": VectorCondition(2),
    "hot": MultiHotCondition(4),
    "low": LowResolution((1, 4, 4)),
    "text": TextCondition(4, vocabulary=32),
    "interval": IntervalCondition(),
}
NO_TOKENS = {name: kind for name, kind in ALL.items() if name != "text"}
NETWORKS: dict[str, Callable[[], torch.nn.Module]] = {
    "unet": lambda: UNet(**DIGITS),
    "unet, conditions": lambda: UNet(**DIGITS | {"conditions": ALL, "cross_attention": (4,)}),
    "mlp": lambda: MLP((1, 4, 4), width=16),
    "dit, conditions": lambda: DiT(**SMALL, depth=2, head_width=8, patch=2, conditions=ALL, registers=2),
    "jit": lambda: JiT(**SMALL, depth=2, head_width=8, patch=4, bottleneck=8, class_tokens=2, class_start=1),
    "uvit, conditions": lambda: UViT(**SMALL, depth=3, head_width=8, patch=2, conditions=NO_TOKENS),
    "linear attention": lambda: LinearAttentionUNet((1, 8, 8), width=8, multipliers=(1, 2), conditions=NO_TOKENS),
}


def exported(network: torch.nn.Module, schedule: Any = None) -> Exported:
    """A denoiser whose weights are all random, so that nothing is multiplied by zero."""
    source = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        parameter.data = 0.1 * torch.randn(parameter.shape, generator=source)
    denoiser = Denoiser(network, schedule or CosineSchedule(), Velocity()).eval()
    nodes = {name: node_of(getattr(denoiser, name)) for name in ("network", "schedule", "target", "c_noise", "c_in")}
    return Exported.of_run(denoiser, nodes)


def folder(path: Path, format: Any, model: Exported) -> Path:
    path.mkdir(exist_ok=True)
    format.check(model)
    format.write(model, path)
    return path


def test_a_safetensors_file_is_loaded_with_its_config(tmp_path: Path) -> None:
    model = exported(UNet(**DIGITS))
    file = folder(tmp_path, Safetensors(), model) / "model.safetensors"
    found = load(file)
    with safe_open(file, framework="pt") as tensors:
        assert json.loads(tensors.metadata()["config"])["data"] == {"shape": [1, 8, 8], "classes": 10}
    assert type(found.target) is Velocity
    given = inputs(model, 3)
    assert torch.equal(found.network(*given), model.denoiser.network(*given))


def test_what_is_no_export_is_said(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(DataError, match="is no export by format=safetensors"):
        load(tmp_path / "a.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "b.safetensors", {"config": '{"network": {"_target_": "os.system"}}'})
    with pytest.raises(ConfigError, match=r"os\.system"):
        load(tmp_path / "b.safetensors")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_traced_graph_is_the_network(tmp_path: Path, name: str) -> None:
    """For any batch size, with every condition as an input behind the label."""
    network = NETWORKS[name]()
    model = exported(network)
    graph = torch.export.load(folder(tmp_path, TorchExport(), model) / "model.pt2").module()
    for batch in BATCHES:
        given = inputs(model, batch)
        named = dict(zip(input_names(model), given, strict=True))
        assert set(getattr(network, "conditions").kinds) <= set(named)  # noqa: B009, of every network of ours
        assert torch.equal(graph(*given), network(**named))


@pytest.mark.filterwarnings("ignore")
def test_an_onnx_graph_is_the_network(tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    from mezzotint.runs.exports.formats import difference, runtime

    model = exported(UNet(**DIGITS))
    assert difference(model, runtime(folder(tmp_path, ONNX(), model) / "model.onnx")) < 1e-4


# --------------------------------------------------------------------------------------------------------- diffusers


@pytest.mark.parametrize("name", UNETS)
def test_a_unet_has_a_twin_with_one_number_of_groups(name: str) -> None:
    found = twin(UNet(**UNETS[name]))
    assert found is not None
    assert len(set(found.config["block_out_channels"])) == (1 if "groups" not in UNETS[name] else 2)


@pytest.mark.filterwarnings("ignore")  # the other library's
@pytest.mark.parametrize("name", UNETS)
def test_the_twin_computes_the_same(name: str) -> None:
    diffusers = pytest.importorskip("diffusers")
    model = exported(UNet(**UNETS[name]))
    network, found = model.denoiser.network, twin(model.denoiser.network)
    assert found is not None
    other = diffusers.UNet2DModel(**found.config).eval()
    other.load_state_dict(found.state)
    x, time = torch.randn(3, *network.shape), torch.tensor([0.0, 17.0, 999.0])
    with torch.no_grad():
        expected = network(x, time)
        torch.testing.assert_close(other(x, time).sample, expected, rtol=1e-5, atol=1e-5)
    assert expected.std() > 0.05


@pytest.mark.parametrize(
    "network",
    [
        MLP((1, 4, 4)),
        UNet(**DIGITS | {"head_width": 32}),
        UNet(**DIGITS | {"self_conditioning": True}),
        UNet((1, 8, 8), width=96, multipliers=(1, 2), attention=()),
    ],
    ids=["mlp", "heads", "self-conditioning", "groups of several sizes"],
)
def test_others_have_none(network: torch.nn.Module) -> None:
    assert twin(network) is None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["DDIMPipeline", "DDPMPipeline"])
@pytest.mark.parametrize("ours", [False, True], ids=["UNet2DModel", "our class"])
def test_pipelines_draw_the_same_images(tmp_path: Path, kind: str, ours: bool) -> None:
    diffusers = pytest.importorskip("diffusers")
    model = exported(MLP((1, 4, 4), classes=2, width=16) if ours else UNet(**DIGITS))
    pipeline = getattr(diffusers, kind).from_pretrained(folder(tmp_path, DiffusersPipeline(), model))
    pipeline.set_progress_bar_config(disable=True)
    given = {"batch_size": 4, "num_inference_steps": 20, "output_type": "np"}
    images = pipeline(generator=torch.Generator().manual_seed(0), **given).images
    source = torch.Generator().manual_seed(0)
    noise = torch.randn(4, *model.denoiser.network.shape, generator=source)
    sampler = DDIM() if kind == "DDIMPipeline" else DDPM()
    drawn = sample(
        model.denoiser, sampler, Trailing(20), noise, noise=lambda x, *_: torch.randn(x.shape, generator=source)
    )
    expected = (drawn / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
    torch.testing.assert_close(torch.from_numpy(images), expected, rtol=0, atol=1e-4)
    assert expected.std() > 0.05


def test_schedules_without_steps_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    model = exported(MLP((1, 4, 4)), RectifiedFlowSchedule())
    with pytest.raises(ConfigError, match=r"RectifiedFlowSchedule has no steps.*Use format=safetensors"):
        DiffusersPipeline().check(model)


@pytest.mark.filterwarnings("ignore")  # the other library's
@pytest.mark.parametrize("name", ["one number of groups", "settings of imported weights"])
def test_an_exported_pipeline_is_imported_again(tmp_path: Path, name: str) -> None:
    """With its schedule, a table of betas, and the same outputs."""
    pytest.importorskip("diffusers")
    model = exported(UNet(**UNETS[name]))
    found = FORMATS["diffusers"](folder(tmp_path / "pipeline", DiffusersPipeline(), model), {})
    own = {key.removeprefix("network."): v for key, v in found.settings.items() if key.startswith("network.")}
    ours = UNet(found.settings["data.shape"], **own)
    ours.load_state_dict(read_state(found.tensors, ours, found.entries(ours)))
    x, time = torch.randn(2, *ours.shape), torch.tensor([1.0, 800.0])
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(x, time), model.denoiser.network(x, time), rtol=1e-6, atol=1e-6)
    assert (found.choices["schedule"], found.choices["target"]) == ("tabulated", "velocity")
    schedule = TabulatedSchedule(found.settings["schedule.values"])
    for t in (1.0, 500.0, 1000.0):
        assert schedule.level(t).alpha == pytest.approx(CosineSchedule().level(t).alpha, rel=1e-9)
