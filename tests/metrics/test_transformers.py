"""Vision transformers as extractors, from files of random weights: DINOv2 and CLIP; and CMMD."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from mezzotint.errors import ConfigError, DataError
from mezzotint.metrics import CLIP, CMMD, DINOv2, FrechetDistance
from mezzotint.metrics.extractors.dinov2 import Backbone, Block
from mezzotint.metrics.mmd import gaussian_mmd


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pictures(count: int, size: int = 20) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def randomly(network: nn.Module) -> nn.Module:
    """Every weight drawn, also those that begin as ones or zeros, so that none can be forgotten unseen."""
    with torch.no_grad():
        for i, (name, value) in enumerate(sorted(network.named_parameters())):
            value.copy_(noise(*value.shape, seed=i) * 0.1 + ("norm" in name and "weight" in name))
    return network.eval()


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory):
    """As published: positions learned at 518 pixels, and a mask token that plays no part."""
    path = tmp_path_factory.mktemp("dinov2") / "small.pth"
    torch.save(randomly(Backbone(128, 2, 37)).state_dict() | {"mask_token": torch.zeros(1, 128)}, path)
    return DINOv2(weights=str(path))


def tower(path, prefix="visual.", **more):
    from torch_fidelity.feature_extractor_clip import VisionTransformer

    network = randomly(VisionTransformer(28, 14, 64, 2, 1, 24))
    torch.save({f"{prefix}{name}": value for name, value in network.state_dict().items()} | more, path)
    return network


# ---- DINOv2 -------------------------------------------------------------------------------------------------------


def test_a_block_is_torch_s_encoder_layer_with_its_scales_multiplied_in():
    block = randomly(Block(128))
    layer = nn.TransformerEncoderLayer(
        128, 2, 512, 0.0, nn.functional.gelu, layer_norm_eps=1e-6, batch_first=True, norm_first=True
    ).eval()
    s = block.state_dict()
    layer.load_state_dict(
        {
            "self_attn.in_proj_weight": s["attn.qkv.weight"],
            "self_attn.in_proj_bias": s["attn.qkv.bias"],
            "self_attn.out_proj.weight": s["ls1.gamma"][:, None] * s["attn.proj.weight"],
            "self_attn.out_proj.bias": s["ls1.gamma"] * s["attn.proj.bias"],
            "linear1.weight": s["mlp.fc1.weight"],
            "linear1.bias": s["mlp.fc1.bias"],
            "linear2.weight": s["ls2.gamma"][:, None] * s["mlp.fc2.weight"],
            "linear2.bias": s["ls2.gamma"] * s["mlp.fc2.bias"],
        }
        | {name: s[name] for name in s if name.startswith("norm")}
    )
    x = noise(3, 7, 128)
    torch.testing.assert_close(block(x), layer(x), rtol=1e-5, atol=1e-5)
    assert (block(x) - x).abs().mean() > 0.1


def test_positions_are_those_of_a_cubic_surface(dinov2):
    """Patch i of 16 lies at (i + 1/2) 37 / 16.1 - 1/2 among the 37 that were learned."""
    planes = dinov2.network.pos_embed[:, 1:].mT.unflatten(2, (37, 37))
    place = (torch.arange(16) + 0.5) / 16.1 * 2 - 1
    where = torch.stack(torch.meshgrid(place, place, indexing="xy"), dim=-1)[None]
    sampled = nn.functional.grid_sample(planes, where, "bicubic", padding_mode="border", align_corners=False)
    torch.testing.assert_close(dinov2.network.grid(16, 16), sampled.flatten(2).mT, rtol=1e-4, atol=1e-5)
    assert torch.equal(dinov2.network.grid(37, 37), dinov2.network.pos_embed[:, 1:])


def test_tokens_are_patches_in_reading_order_behind_the_class_token(dinov2):
    network, image = dinov2.network, noise(1, 3, 28, 42)
    patches = image.unfold(2, 14, 14).unfold(3, 14, 14).permute(0, 2, 3, 1, 4, 5).reshape(1, 6, -1)
    rows = patches @ network.patch_embed["proj"].weight.flatten(1).T + network.patch_embed["proj"].bias
    tokens = torch.cat([network.cls_token + network.pos_embed[:, :1], rows + network.grid(2, 3)], dim=1)
    for block in network.blocks:
        tokens = block(tokens)
    torch.testing.assert_close(network(image), network.norm(tokens)[:, 0], rtol=1e-4, atol=1e-5)


def test_images_are_resized_as_pillow_does(dinov2, monkeypatch):
    seen = []
    monkeypatch.setattr(Backbone, "forward", lambda self, x: seen.append(x) or torch.zeros(len(x), 128))
    given = pictures(1)
    dinov2(given)
    theirs = Image.fromarray(given[0].permute(1, 2, 0).numpy()).resize((224, 224), Image.Resampling.BICUBIC)
    expected = (np.asarray(theirs) / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    difference = (seen[0][0].permute(1, 2, 0).double() - torch.from_numpy(expected)).abs()
    assert difference.max() < 1.001 / 255 / 0.224
    assert difference.mean() < 1e-4


def test_distances_over_dinov2_carry_the_network_s_name(dinov2):
    metric = FrechetDistance(dinov2)
    assert metric.reported_name(50_000) == "fd_dinov2_128_50k"
    assert "not called" not in "".join(metric.notes(50_000))
    for width, name in ((384, "dinov2_vits14"), (768, "dinov2_vitb14"), (1024, "dinov2")):
        made = DINOv2()
        made.__dict__["network"] = Backbone(width, 0, 1)
        assert made.name == name
        assert made.features == width


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_both_kinds_of_file_give_the_same_features(dinov2, tmp_path, suffix):
    state = {name: value.contiguous() for name, value in dinov2.network.state_dict().items()}
    path = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(state, path)
    assert torch.equal(DINOv2(weights=str(path))(pictures(2)), dinov2(pictures(2)))


def test_features_do_not_depend_on_the_batch(dinov2):
    given = pictures(10)
    whole, parts = dinov2(given), torch.cat([dinov2(part) for part in given.split([1, 9])])
    assert torch.equal(whole, parts)
    assert whole.shape == (10, 128)
    assert whole.std(0).min() > 1e-3


# ---- CLIP ---------------------------------------------------------------------------------------------------------


def test_clip_equals_torch_fidelity_s_tower(tmp_path):
    network = tower(tmp_path / "clip.pth", logit_scale=torch.ones(()))
    given = pictures(3, size=28)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
    deviation = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
    expected = network((given / 255 - mean) / deviation)
    extractor = CLIP(weights=str(tmp_path / "clip.pth"))
    torch.testing.assert_close(extractor(given), expected, rtol=1e-4, atol=1e-4)
    assert extractor.features == 24
    assert "28x28" in extractor.protocol()["resize"]


def test_hugging_face_s_names_mean_the_same_tower(tmp_path):
    """Written out as its own model would be saved: separate q, k, v, and a text tower beside it."""
    network = tower(tmp_path / "openai.pth")
    s = network.state_dict()
    state = {
        "vision_model.embeddings.class_embedding": s["class_embedding"],
        "vision_model.embeddings.patch_embedding.weight": s["conv1.weight"],
        "vision_model.embeddings.position_embedding.weight": s["positional_embedding"],
        "vision_model.embeddings.position_ids": torch.arange(5)[None],
        "visual_projection.weight": s["proj"].T.contiguous(),
        "text_model.final_layer_norm.weight": torch.ones(4),
    }
    for theirs, ours in (("pre_layrnorm", "ln_pre"), ("post_layernorm", "ln_post")):
        state |= {f"vision_model.{theirs}.{part}": s[f"{ours}.{part}"] for part in ("weight", "bias")}
    pairs = {"mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj", "self_attn.out_proj": "attn.out_proj"}
    pairs |= {"layer_norm1": "ln_1", "layer_norm2": "ln_2"}
    for i in range(2):
        theirs, ours = f"vision_model.encoder.layers.{i}.", f"transformer.resblocks.{i}."
        for part in ("weight", "bias"):
            state |= {f"{theirs}{a}.{part}": s[f"{ours}{b}.{part}"] for a, b in pairs.items()}
            split = s[f"{ours}attn.in_proj_{part}"].chunk(3)
            state |= {f"{theirs}self_attn.{x}_proj.{part}": v.clone() for x, v in zip("qkv", split, strict=True)}
    save_file(state, tmp_path / "hugging.safetensors")
    first, second = (CLIP(weights=str(tmp_path / name)) for name in ("openai.pth", "hugging.safetensors"))
    assert torch.equal(first(pictures(2)), second(pictures(2)))


# ---- weights ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [DINOv2, CLIP])
def test_weights_are_missed_before_anything_is_drawn_with_the_command_that_fetches_them(kind, tmp_path):
    with pytest.raises(DataError, match=r"needs its weights.*curl -L -o \S+ https.* extractor\.weights="):
        kind().validate((3, 32, 32))
    with pytest.raises(DataError, match=r"no weights of \w+ at .*absent\.pth\. Fetch them: curl -L -o .*absent\.pth"):
        kind(weights=str(tmp_path / "absent.pth")).validate((3, 32, 32))
    with pytest.raises(ConfigError, match="2 channels"):
        kind(weights=str(tmp_path / "absent.pth")).validate((2, 32, 32))


@pytest.mark.parametrize("kind", [DINOv2, CLIP])
def test_weights_of_another_network_and_programs_are_refused(kind, tmp_path):
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(ConfigError, match=r"other\.pth.*It should be the state dict"):
        kind(weights=str(tmp_path / "other.pth")).prepare((3, 32, 32))
    torch.save(nn.Linear(2, 2), tmp_path / "module.pth")
    with pytest.raises(ConfigError, match="read safely"):
        kind(weights=str(tmp_path / "module.pth")).prepare((3, 32, 32))
    (tmp_path / "half.safetensors").write_bytes(b"123")
    with pytest.raises(ConfigError, match="read safely"):
        kind(weights=str(tmp_path / "half.safetensors")).prepare((3, 32, 32))


# ---- CMMD ---------------------------------------------------------------------------------------------------------


def test_cmmd_equals_its_definition(projection):
    """Eq. 3 with every pair written out; 1,000 times, sigma 10."""
    real, drawn = noise(30, 6), noise(20, 6, seed=1) + 1
    metric = CMMD(projection(6))
    metric.update_features(real, real=True)
    metric.update_features(drawn, real=False)
    x, y = (rows.double() / rows.double().norm(dim=1, keepdim=True) for rows in (real, drawn))

    def k(a, b):
        return torch.exp(-(a[:, None] - b).square().sum(-1) / 200).mean()

    assert float(metric.compute()) == pytest.approx(float(1000 * (k(x, x) + k(y, y) - 2 * k(x, y))), rel=1e-9)
    assert float(metric.compute()) > 0.1
    assert metric.reported_name(1000) == "mmd_projection_1000"


def test_the_distance_of_one_point_from_another_is_known():
    """|x - y|^2 = 2: MMD^2 = 2 - 2 exp(-1 / sigma^2)."""
    x, y = torch.eye(2, dtype=torch.float64).split(1)
    assert float(gaussian_mmd(x, y, 10.0)) == pytest.approx(2 * -np.expm1(-0.01), rel=1e-12)
    assert float(gaussian_mmd(x, x, 10.0)) == 0


def test_blocks_do_not_matter(monkeypatch):
    x, y = noise(50, 3).double(), noise(20, 3, seed=1).double()
    whole = gaussian_mmd(x, y, 1.0)
    monkeypatch.setattr("mezzotint.metrics.mmd.BLOCK", 7)
    torch.testing.assert_close(gaussian_mmd(x, y, 1.0), whole)


def test_over_clip_it_is_called_cmmd(tmp_path):
    tower(tmp_path / "clip.pth")
    metric = CMMD(CLIP(weights=str(tmp_path / "clip.pth")))
    assert metric.reported_name(30_000) == "cmmd_30k"
    metric.update(pictures(4), real=True)
    metric.update(pictures(4).flip(0), real=False)
    assert float(metric.compute()) == pytest.approx(0, abs=1e-9)
    with pytest.raises(ValueError, match="sigma=0"):
        CMMD(metric.extractor, sigma=0)
