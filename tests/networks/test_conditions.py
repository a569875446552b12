"""Conditions of networks: each kind by its definition, its null, and the three ways into a U-Net."""

import ast
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import mezzotint
from mezzotint.diffusion import null_like
from mezzotint.networks import (
    MLP,
    ClassCondition,
    Condition,
    DiT,
    EDM2UNet,
    EmbeddingCondition,
    ImageCondition,
    JiT,
    MultiHotCondition,
    SentenceCondition,
    SongUNet,
    TextCondition,
    UNet,
    VectorCondition,
)
from mezzotint.networks.attention import CrossAttention, attend
from mezzotint.networks.conditions import ConditionEmbedder, TokenContext
from mezzotint.networks.conditions.tokens import word_number
from mezzotint.networks.unet import Stage

KINDS: dict[str, tuple[Condition, Tensor]] = {
    "view": (ClassCondition(3), torch.tensor([0, 2])),
    "tags": (MultiHotCondition(4), torch.tensor([[0, 1, 0, 1], [1, 0, 0, 0]])),
    "y": (VectorCondition(), torch.tensor([[0.3], [-1.2]])),
    "pose": (VectorCondition(5, frequencies=0), torch.linspace(-1, 1, 10).reshape(2, 5)),
    "sentence": (SentenceCondition(5), torch.linspace(-1, 1, 10).reshape(2, 5)),
    "low": (ImageCondition((3, 4, 4)), torch.linspace(-1, 1, 96).reshape(2, 3, 4, 4)),
    "mask": (ImageCondition((1, 8, 8)), torch.linspace(-1, 1, 128).reshape(2, 1, 8, 8)),
    "caption": (EmbeddingCondition(3, 6), torch.linspace(-1, 1, 36).reshape(2, 3, 6)),
    "name": (TextCondition(4, vocabulary=50), torch.tensor([[3, 7, -1, -1], [9, 9, 1, 4]])),
}
SPECS = {name: kind for name, (kind, _) in KINDS.items()}
VALUES = {name: value for name, (_, value) in KINDS.items()}
X, TIME = torch.linspace(-1, 1, 2 * 3 * 64).reshape(2, 3, 8, 8), torch.tensor([3.0, 700.0])


def scrambled(network: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network.eval()


def unet(conditions: dict[str, Condition], **changes) -> UNet:
    settings = {"width": 16, "multipliers": (1, 2), "blocks": 1, "attention": (4,), **changes}
    return scrambled(UNet((3, 8, 8), conditions=conditions, **settings))  # type: ignore[return-value]


SONG = {"width": 16, "multipliers": (1, 2), "blocks": 1, "attention": (4,)}
NETWORKS = {
    "unet": unet,
    "ddpmpp": lambda conditions: scrambled(SongUNet((3, 8, 8), conditions=conditions, **SONG)),  # type: ignore[arg-type]
    "ncsnpp": lambda conditions: scrambled(
        SongUNet((3, 8, 8), conditions=conditions, features="fourier", encoder="residual", taps=(1, 3, 3, 1), **SONG)  # type: ignore[arg-type]
    ),
    "edm2": lambda conditions: scrambled(EDM2UNet((3, 8, 8), conditions=conditions, head_width=16, **SONG)),  # type: ignore[arg-type]
    "mlp": lambda conditions: scrambled(MLP((3, 8, 8), width=16, conditions=conditions)),
    "dit": lambda conditions: scrambled(DiT((3, 8, 8), width=16, depth=2, conditions=conditions)),
    "jit": lambda conditions: scrambled(
        JiT((3, 8, 8), width=16, depth=3, patch=4, class_tokens=2, class_start=1, conditions=conditions)
    ),
}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", KINDS)
def test_each_kind_matters_by_example_and_one_not_given_is_its_null(name, network):
    net, value = NETWORKS[network]({name: SPECS[name]}), VALUES[name]
    given = net(X, TIME, **{name: value})
    null = net(X, TIME, **{name: null_like(value)})
    assert given.isfinite().all()
    assert torch.equal(null, net(X, TIME))
    assert (given - null).abs().flatten(1).amax(1).min() > 1e-3
    mixed = net(X, TIME, **{name: torch.stack([value[0], null_like(value[1])])})
    torch.testing.assert_close(mixed, torch.stack([given[0], null[1]]))


@pytest.mark.parametrize("network", NETWORKS)
def test_gradients_are_finite_through_the_null_and_reach_every_parameter(network):
    net = NETWORKS[network](SPECS)
    values = {name: torch.stack([value[0], null_like(value[1])]) for name, value in VALUES.items()}
    gradients = torch.autograd.grad(net(X, TIME, **values).square().sum(), list(net.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("network", NETWORKS)
def test_without_conditions_a_network_has_its_keys_and_takes_none(network):
    net = NETWORKS[network]({})
    assert not [key for key in net.state_dict() if key.startswith("conditions")]
    assert net.state_dict().keys() == NETWORKS[network](None).state_dict().keys()
    with pytest.raises(ValueError, match="built with conditions none takes no 'y': leave it out"):
        net(X, TIME, y=VALUES["y"])
    with pytest.raises(ValueError, match="built with conditions view takes no 'y'"):
        NETWORKS[network]({"view": SPECS["view"]})(X, TIME, y=VALUES["y"])


@pytest.mark.slow  # the import of the compiler
@pytest.mark.filterwarnings("ignore")  # torch's own, from its compiler
def test_the_compiler_takes_every_kind_at_once():
    net = unet(SPECS)
    expected, keys = net(X, TIME, **VALUES), list(net.state_dict())
    net.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(net(X, TIME, **VALUES), expected)
    assert list(net.state_dict()) == keys


def test_checkpointing_gives_the_same_gradients():
    net = unet(SPECS).double()
    values = {name: v.double() if v.is_floating_point() else v for name, v in VALUES.items()}

    def gradients(checkpointing: bool):
        for stage in filter(lambda part: isinstance(part, Stage), net.modules()):
            stage.checkpointing = checkpointing
        return torch.autograd.grad(net(X.double(), TIME, **values).square().mean(), list(net.parameters()))

    torch.testing.assert_close(gradients(True), gradients(False), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
def test_a_network_of_another_precision_takes_float32_values(dtype):
    assert unet(SPECS).to(dtype)(X, TIME, **VALUES).dtype == dtype


def test_on_the_meta_device():
    with torch.device("meta"):
        net = UNet((3, 8, 8), width=16, multipliers=(1, 2), attention=(4,), conditions=SPECS)
    assert net(X.to("meta"), TIME.to("meta"), **{n: v.to("meta") for n, v in VALUES.items()}).shape == X.shape


@pytest.mark.parametrize("shape", [(2, 8), (1, 4, 4, 8)], ids=str)
def test_images_of_other_ranks_are_resized_too(shape):
    low = ImageCondition((2, *(side // 2 for side in shape[1:])))
    net = scrambled(UNet(shape, width=16, multipliers=(1, 2), blocks=1, attention=(), conditions={"low": low}))
    assert net(torch.randn(2, *shape), TIME, low=torch.randn(2, *low.shape)).shape == (2, *shape)
    with pytest.raises(ValueError, match="has not as many sizes as the data"):
        UNet((3, 8, 8), width=16, multipliers=(1, 2), attention=(), conditions={"low": low})


# ----------------------------------------------------------------------------------------------- each by its definition


def embedded(name: str, value: Tensor, size=(8, 8)):
    torch.manual_seed(0)
    embedder = ConditionEmbedder({name: SPECS[name]}, 10, size)
    scrambled(embedder)
    return embedder, embedder(torch.zeros(len(value), 3, *size), {name: value})


def test_a_multi_hot_vector_is_the_sum_over_its_classes():
    embedder, given = embedded("tags", VALUES["tags"])
    layer = embedder.vectors["tags"]
    expected = layer.linear.bias + layer.linear.weight[:, 1] + layer.linear.weight[:, 3]
    torch.testing.assert_close(given.vector[0], expected)


def test_a_vector_is_seen_with_its_waves():
    embedder, given = embedded("y", VALUES["y"])
    layer = embedder.vectors["y"]
    waves = [2 * math.pi / period * 0.3 for period in (8.0, 4.0, 2.0, 1.0, 0.5, 0.25)]
    features = torch.tensor([0.3, *map(math.sin, waves), *map(math.cos, waves)])
    torch.testing.assert_close(
        given.vector[0], layer.second(functional.silu(layer.first(features))), rtol=1e-5, atol=1e-5
    )
    assert torch.equal(embedded("y", torch.full((2, 1), math.nan))[1].vector[1], layer.null)


def test_an_image_is_resized_and_marked():
    _, given = embedded("low", torch.stack([VALUES["low"][0], torch.full((3, 4, 4), math.nan)]))
    expected = functional.interpolate(VALUES["low"][:1], (8, 8), mode="bicubic", align_corners=False)[0]
    torch.testing.assert_close(given.channels[0], torch.cat([expected, torch.ones(1, 8, 8)]))
    assert not given.channels[1].any()
    _, same = embedded("mask", VALUES["mask"])
    assert torch.equal(same.channels[:, :1], VALUES["mask"])


def test_padding_changes_nothing():
    """A longer sequence that ends in padding gives the same tokens and the same mean."""
    value = VALUES["caption"]
    short, longer = value.clone(), value.clone()
    short[:, 2] = math.nan
    longer[:, 2] = math.nan
    _, given = embedded("caption", short)
    assert given.context.counts.tolist() == [[True, True, True, False]] * 2
    cut = ConditionEmbedder({"caption": EmbeddingCondition(2, 6)}, 10, (8, 8))
    cut.load_state_dict(embedded("caption", short)[0].state_dict())
    torch.testing.assert_close(cut(X, {"caption": value[:, :2]}).vector, given.vector)
    layer = scrambled(CrossAttention(8, 10, 2, 4))
    x = torch.randn(2, 8, 4, 4)
    expected = layer(x, cut(X, {"caption": value[:, :2]}).context)
    torch.testing.assert_close(layer(x, given.context), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_attention_to_tokens_is_a_mean_over_those_that_count(dtype):
    """Written out, one position at a time; bfloat16 takes the plain products."""
    torch.manual_seed(0)
    query = torch.randn(2, 3, 4, 5).to(dtype)
    key, value = torch.randn(2, 2, 3, 4, 6).to(dtype).unbind()
    counts = torch.tensor([[True] * 6, [True, False, True, False, False, False]])
    expected = torch.empty(2, 3, 4, 5, dtype=torch.float64)
    for b in range(2):
        k, v = (part[b].double()[..., counts[b]] for part in (key, value))
        for n in range(5):
            scores = (query.double()[b, :, :, n, None] * k).sum(dim=1) / 4**0.5
            expected[b, :, :, n] = (v * scores.softmax(dim=-1)[:, None]).sum(dim=-1)
    tolerance = {torch.float64: 1e-12, torch.bfloat16: 3e-2}[dtype]
    torch.testing.assert_close(attend(query, key, value, counts).double(), expected, rtol=0, atol=tolerance)


def test_a_new_network_starts_as_if_it_did_not_attend():
    layer, x = CrossAttention(8, 10, 2, 4), torch.randn(2, 8, 4, 4)
    assert torch.equal(layer(x, TokenContext(torch.randn(2, 3, 10), torch.ones(2, 3).bool())), x)


def test_cross_attention_stands_at_the_named_sizes_beside_or_in_place_of_attention():
    name = {"name": SPECS["name"]}

    def stages(net: UNet) -> dict[str, tuple[bool, bool]]:
        found = {key: part for key, part in net.named_modules() if isinstance(part, Stage)}
        return {key: (not isinstance(s.attention, nn.Identity), s.cross is not None) for key, s in found.items()}

    beside, in_place = unet(name), unet(name, attention=(), cross_attention=(8,))
    assert stages(beside)["down.level1.stages.0"] == (True, True)
    assert stages(beside)["down.level0.stages.0"] == (False, False)
    assert stages(in_place)["down.level0.stages.0"] == stages(in_place)["up.level0.stages.1"] == (False, True)
    assert stages(in_place)["down.level1.stages.0"] == (False, False)
    assert stages(in_place)["middle.0"] == (True, True)
    assert not any(crosses for _, crosses in stages(unet({"y": SPECS["y"]})).values())
    with pytest.raises(ValueError, match="no condition is a sequence"):
        unet({"y": SPECS["y"]}, cross_attention=(4,))
    with pytest.raises(ValueError, match="no level has size 5"):
        unet(name, cross_attention=(5,))


# --------------------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize("name", KINDS)
def test_values_pass_their_check_and_their_null_does_not(name):
    kind, value = KINDS[name]
    kind.check(value)
    assert kind.null(2).shape == value.shape
    assert kind.null(2).dtype == kind.dtype == value.dtype
    with pytest.raises(ValueError, match="shape"):
        kind.check(value.unsqueeze(1))


def test_values_of_the_command_line():
    assert SPECS["y"].encode(0.5).tolist() == [0.5]
    assert SPECS["view"].encode(2).tolist() == 2
    assert SPECS["tags"].encode([0, 1, 1, 0]).tolist() == [0, 1, 1, 0]
    text = SPECS["name"].encode("Red heart!")
    assert text.tolist() == [word_number(word, 50) for word in ("red", "heart", "!")] + [-1]
    assert word_number("red", 4096) == 2317
    rows = SPECS["caption"].encode([[0.0] * 6])
    assert rows.isnan().all(1).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("view", 3, "holds 3, which is not one of 0 to 2"),
        ("view", [1, 2], "an integer from 0 to 2"),
        ("view", 1.5, "1.5 is not an integer from 0 to 2"),
        ("tags", [0, 0.5, 0, 0], "a list of 4 numbers, each 0 or 1"),
        ("name", ["red", "heart"], "is not a text of at most 4 words"),
        ("tags", [0, 2, 0, 0], "holds 2, which is not one of 0 to 1"),
        ("y", "warm", "'warm' is not a number"),
        ("y", [0.1, 0.2], r"shape \[2\] and not that of a number"),
        ("y", math.nan, "NaN or infinite in 1 of 1 examples"),
        ("pose", [1.0, 2.0], r"has the shape \[2\] and not that of 5 numbers"),
        ("caption", [[0.0] * 5], r"\[1, 5\] is not the shape of at most 3 tokens of 6 numbers"),
        ("name", [50], "holds 50, which is not one of 0 to 49"),
    ],
)
def test_a_value_of_another_kind_is_refused(name, value, message):
    with pytest.raises(ValueError, match=message):
        SPECS[name].encode(value)


def lengths(texts) -> list[list[float]]:
    """An encoder: letters and words."""
    return [[len(text), len(text.split())] for text in texts]


def test_a_sentence_is_the_direction_of_its_vector():
    kind = SentenceCondition(2, lengths)
    vectors = kind.encode_all(["ab cd", "abc"])
    torch.testing.assert_close(vectors, torch.tensor([[5.0, 2.0], [3.0, 1.0]]) / torch.tensor([[14.5], [5.0]]).sqrt())
    assert torch.equal(kind.encode("abc"), vectors[1])
    torch.testing.assert_close(kind.encode([30, 10]), vectors[1])
    torch.testing.assert_close(kind.numbers(torch.tensor([[3, 1]])), vectors[1:])
    with pytest.raises(ValueError, match="'abc' is a text, and this condition has no encoder: it is 2 numbers"):
        SentenceCondition(2).encode("abc")
    with pytest.raises(ValueError, match=r"its encoder returns \[1, 2\] for 1 texts, not vectors of 3"):
        SentenceCondition(3, lengths).encode("abc")
    with pytest.raises(ValueError, match="NaN or infinite in 1 of 1 examples"):
        SentenceCondition(2, lambda texts: torch.zeros(1, 2)).encode("abc")


def broken(texts):
    raise ImportError("No module named 'sentences'")


@pytest.mark.parametrize(("encoder", "reason"), [(broken, "No module named 'sentences'"), (lambda texts: None, "")])
def test_an_encoder_that_fails_is_named(encoder, reason):
    with pytest.raises(ValueError, match=f"its encoder function returns no vectors .*{reason}"):
        SentenceCondition(2, encoder).encode("abc")


def passed_on() -> set[str]:
    """The arguments of every function that passes conditions on by name, which would clash with them."""
    found: set[str] = set()
    for file in Path(mezzotint.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.args.kwarg:
                named = [one.arg for one in (*node.args.args, *node.args.kwonlyargs)]
                found |= set(named) if node.args.kwarg.arg in ("cond", "condition", "conditions") else set()
    return found


@pytest.mark.parametrize("name", ["to", "a b", "keys", "image", "index", "all", *sorted(passed_on())])
def test_a_name_that_means_something_else_is_refused(name):
    with pytest.raises(ValueError, match="cannot be the name of a condition"):
        MLP((2, 1, 1), conditions={name: VectorCondition()})
