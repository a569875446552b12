"""Transformers: how they start, and what each network promises about inputs, training and derivatives."""

import copy
import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mezzotint.networks import DDT, DiT, ImageCondition, JiT, TextCondition, UViT, VectorCondition

SMALL = {"width": 16, "depth": 3, "head_width": 8, "patch": 2}
MODERN = {"rotary": True, "swiglu": True, "rms_norm": True, "qk_norm": True, "registers": 2}
NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "DiT": lambda **changes: DiT(**{"shape": (3, 8, 8), **SMALL, **changes}),
    "LightningDiT": lambda **changes: DiT(**{"shape": (3, 8, 8), **SMALL, **MODERN, **changes}),
    "JiT": lambda **changes: JiT(**{"shape": (3, 8, 8), **SMALL, "class_tokens": 3, "class_start": 1, **changes}),
    "DDT": lambda **changes: DDT(**{"shape": (3, 8, 8), **SMALL, "encoder_depth": 2, **changes}),
    "UViT": lambda **changes: UViT(**{"shape": (3, 8, 8), **SMALL, **changes}),
}
every_network = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)


def scramble(network: nn.Module) -> nn.Module:
    """Random values everywhere, so that no zero-initialised layer hides a mistake."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network.eval()


def inputs(batch: int = 2, shape: tuple[int, ...] = (3, 8, 8), dtype: torch.dtype = torch.float32):
    torch.manual_seed(1)
    return torch.randn(batch, *shape, dtype=dtype), torch.linspace(0.1, 0.9, batch)


# initialisation


@pytest.mark.parametrize("make", [NETWORKS[name] for name in ("DiT", "LightningDiT", "JiT", "DDT")])
def test_a_new_network_answers_zero_and_every_block_starts_as_the_identity(make):
    network, (x, time) = make(classes=3), inputs()
    assert network(x, time, torch.tensor([0, -1])).abs().max() == 0
    tokens, condition = torch.randn(2, 16, 16), torch.randn(2, 1, 16)
    for block in network.blocks:
        torch.testing.assert_close(block(tokens, condition), tokens, rtol=0, atol=0)


def test_weights_start_as_published():
    """Xavier's uniform distribution for linear layers, 0.02 for embeddings; biases and modulation are zero."""
    network = DiT((3, 32, 32), classes=1000, width=96, depth=2, head_width=48)
    layer = network.blocks[0].attention.qkv
    assert layer.weight.abs().max().item() == pytest.approx((6 / (4 * 96)) ** 0.5, rel=0.01)
    assert network.patches.linear.weight.abs().max().item() == pytest.approx((6 / (12 + 96)) ** 0.5, rel=0.01)
    for weight in (network.embedding.label.table.weight, network.embedding.time.first.weight):
        assert weight.std().item() == pytest.approx(0.02, rel=0.03)
    assert all(not p.any() for name, p in network.named_parameters() if name.endswith("bias"))
    published = UViT((3, 32, 32), width=64)
    assert published.blocks[0].attention.qkv.weight.std().item() == pytest.approx(0.02, rel=0.03)


@pytest.mark.parametrize(("width", "depth", "patch"), [(16, 2, 2), (32, 3, 4), (24, 1, 1)])
def test_parameters_in_closed_form(width, depth, patch):
    """Patches, time, labels, blocks of 18 w^2 + 15 w, final layer; 4 channels, 10 classes, learned variance."""
    inputs, outputs = 4 * patch**2, 8 * patch**2
    embeddings = (inputs + 1) * width + (256 + 1) * width + (width + 1) * width + 11 * width
    final = 2 * width * (width + 1) + (width + 1) * outputs
    network = DiT((4, 8, 8), 10, width, depth, width, patch, learned_variance=True)
    assert sum(p.numel() for p in network.parameters()) == embeddings + depth * (18 * width**2 + 15 * width) + final


# promises about inputs


@every_network
@pytest.mark.parametrize("shape", [(2, 8), (1, 4, 8), (3, 6, 4), (2, 2, 4, 6)], ids=str)
def test_series_images_and_volumes_of_any_size_that_divides(make, shape):
    x, time = inputs(shape=shape)
    assert scramble(make(shape=shape))(x, time).shape == x.shape


@every_network
def test_time_label_and_place_matter(make):
    network, (x, _) = scramble(make(classes=3)), inputs(1)
    cases = [(0.1, 0), (700.0, 0), (0.1, 1), (0.1, -1)]
    outputs = [network(x, torch.tensor([time]), torch.tensor([label])) for time, label in cases]
    for one, other in itertools.combinations(outputs, 2):
        assert (one - other).abs().max() > 1e-3
    turned = network(x.roll(2, dims=3), torch.tensor([0.1]), torch.tensor([0]))
    assert (turned.roll(-2, dims=3) - outputs[0]).abs().max() > 1e-4


@every_network
def test_no_label_is_the_null_label_and_each_example_is_answered_alone(make):
    network, (x, time) = scramble(make(classes=3)), inputs(4)
    label = torch.tensor([2, -1, 0, -1])
    output = network(x, time, label)
    torch.testing.assert_close(network(x, time)[[1, 3]], output[[1, 3]])
    torch.testing.assert_close(network(x[1:3], time[1:3], label[1:3]), output[1:3])


@every_network
def test_a_label_without_classes_or_outside_of_them_is_an_error(make):
    x, time = inputs()
    with pytest.raises(ValueError, match="classes=0"):
        make()(x, time, torch.tensor([0, 0]))
    with pytest.raises(IndexError):
        make(classes=3)(x, time, torch.tensor([0, 3]))


@every_network
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch": 3}, "patch=3 does not divide a size of 8 x 8. Choose a patch that divides 8"),
        ({"patch": 0}, "patch=0"),
        ({"head_width": 6}, "head_width=6: heads of that many channels do not divide width=16"),
        ({"shape": (3,)}, "is not channels and one to three sizes"),
        ({"depth": 0}, "depth=0"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused_when_built(make, changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_what_only_one_network_refuses():
    with pytest.raises(ValueError, match="depth=4"):
        NETWORKS["UViT"](depth=4)
    with pytest.raises(ValueError, match="class_start=3: the last of depth=3 blocks is 2"):
        NETWORKS["JiT"](class_start=3)


def test_a_network_narrower_than_its_heads_has_one():
    assert DiT((3, 8, 8), width=8, depth=1, head_width=64).blocks[0].attention.heads == 1


def test_learned_variance_doubles_the_channels():
    x, time = inputs()
    assert NETWORKS["DiT"](learned_variance=True)(x, time).shape == (2, 6, 8, 8)


@pytest.mark.parametrize("name", ["DiT", "LightningDiT", "JiT"])
def test_padding_of_a_sequence_changes_nothing(name):
    """Tokens of two words, then the same with two places of padding, which are masked in every block."""
    network, (x, time) = scramble(NETWORKS[name](conditions={"text": TextCondition(4, vocabulary=20)})), inputs()
    words = torch.tensor([[3, 7, -1, -1], [9, 9, 1, 4]])
    other = words.clone()
    other[1, 3] = 5
    output = network(x, time, text=words)
    assert (network(x, time, text=other) - output)[1].abs().max() > 1e-4
    short = scramble(NETWORKS[name](conditions={"text": TextCondition(2, vocabulary=20)}))
    state = network.state_dict()
    short.load_state_dict({key: state[key][: len(value)] for key, value in short.state_dict().items()})
    torch.testing.assert_close(short(x[:1], time[:1], text=words[:1, :2]), output[:1], rtol=1e-4, atol=1e-5)


def test_u_vit_takes_vectors_and_images_but_no_sequences():
    kinds = {"y": VectorCondition(2), "low": ImageCondition((3, 4, 4))}
    network, (x, time) = scramble(NETWORKS["UViT"](conditions=kinds)), inputs()
    for name, value in (("y", torch.randn(2, 2)), ("low", torch.randn(2, 3, 4, 4))):
        assert (network(x, time, **{name: value}) - network(x, time)).abs().max() > 1e-4
    with pytest.raises(ValueError, match="takes no sequences such as text"):
        NETWORKS["UViT"](conditions={"text": TextCondition(4)})


# training


@every_network
def test_checkpointing_changes_neither_outputs_nor_gradients_and_stores_less(make):
    def run(checkpointing: bool):
        network = scramble(make(dropout=0.3)).train()
        for block in network.blocks:
            block.checkpointing = checkpointing
        stored: list[int] = []
        x, time = inputs()
        with torch.autograd.graph.saved_tensors_hooks(lambda t: stored.append(t.numel()) or t, lambda t: t):
            loss = network(x, time).square().mean()
        return sum(stored), loss, torch.autograd.grad(loss, list(network.parameters()))

    (stored, loss, gradients), (less, same_loss, same_gradients) = run(False), run(True)
    torch.testing.assert_close((loss, gradients), (same_loss, same_gradients), rtol=1e-6, atol=1e-7)
    assert less < 0.5 * stored


@every_network
def test_dropout_acts_in_training_only_and_follows_the_seed(make):
    network, (x, time) = scramble(make(dropout=0.5, depth=5)), inputs()
    torch.testing.assert_close(network(x, time), network(x, time), rtol=0, atol=0)
    network.train()

    def drawn(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return network(x, time)

    assert torch.equal(drawn(3), drawn(3))
    assert (drawn(3) - drawn(4)).abs().max() > 1e-3
    assert any(isinstance(part, nn.Dropout) and part.p for part in network.modules())  # which a step then seeds


def test_jit_drops_in_the_middle_half_alone():
    blocks = JiT((3, 8, 8), width=16, depth=8, patch=2, dropout=0.2, class_start=1).blocks
    assert [block.mlp.dropout.p for block in blocks] == [0.0] * 2 + [0.2] * 4 + [0.0] * 2


@every_network
def test_what_fsdp_cuts_is_nearly_all(make):
    network = make(width=128, depth=5)
    cut = {id(p) for part in network.modules() if isinstance(part, nn.ModuleList) for p in part.parameters()}
    total = sum(p.numel() for p in network.parameters())
    assert sum(p.numel() for p in network.parameters() if id(p) in cut) > 0.8 * total


@every_network
@pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # torch's own, from its derivatives in forward mode
def test_derivatives_in_forward_mode_are_those_of_finite_differences(make):
    """In x and in the time together, as for consistency models and mean flows; then backward through them."""
    network = scramble(make(classes=3)).double()
    x, time = inputs(dtype=torch.float64)
    time, label = time.double(), torch.tensor([1, -1])
    tangents = torch.randn_like(x), torch.ones_like(time)

    def along(h: float) -> Tensor:
        return network(x + h * tangents[0], time + h * tangents[1], label)

    def call(x: Tensor, time: Tensor) -> Tensor:
        return network(x, time, label)

    output, derivative = torch.func.jvp(call, (x, time), tangents)
    torch.testing.assert_close(output, network(x, time, label), rtol=1e-10, atol=1e-10)
    slope = (along(1e-2) - along(-1e-2)) / 2e-2  # times are float32 inside: steps cannot be smaller
    torch.testing.assert_close(derivative, slope, rtol=2e-2, atol=2e-2)
    gradients = torch.autograd.grad(derivative.square().sum(), list(network.parameters()), allow_unused=True)
    assert sum(gradient is not None and bool(gradient.any()) for gradient in gradients) > 10


# precision, copies, compilation


@every_network
@pytest.mark.parametrize(("weights", "state"), [(torch.bfloat16, torch.float32), (torch.float32, torch.float64)])
def test_a_state_may_be_finer_than_the_weights(make, weights, state):
    x, time = inputs(dtype=state)
    assert scramble(make(classes=2)).to(weights)(x, time).dtype == weights


@every_network
def test_bfloat16_is_near_float32_as_a_network_and_under_autocast(make):
    network, (x, time) = scramble(make()), inputs()
    expected = network(x, time)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = network(x, time)
    for output in (mixed, copy.deepcopy(network).bfloat16()(x, time)):
        assert (output.float() - expected).norm() < 0.05 * expected.norm()


@every_network
def test_tables_are_no_part_of_the_state(make):
    network = make(classes=2)
    assert set(network.state_dict()) == {name for name, _ in network.named_parameters()}


@every_network
def test_built_on_a_device_it_is_all_there(make):
    with torch.device("meta"):
        network, (x, time) = make(classes=2), (torch.empty(2, 3, 8, 8), torch.empty(2))
    assert {tensor.device.type for tensor in (*network.parameters(), *network.buffers())} == {"meta"}
    assert network(x, time).shape == x.shape


@every_network
def test_a_copy_and_a_network_with_other_weights_by_name_answer_alike(make):
    network, (x, time) = scramble(make()), inputs()
    expected = network(x, time)
    other = make()
    other.load_state_dict(network.state_dict())
    for same in (copy.deepcopy(network), other.eval()):
        torch.testing.assert_close(same(x, time), expected, rtol=0, atol=0)


@every_network
@pytest.mark.slow  # the import of the compiler
@pytest.mark.filterwarnings("ignore")  # torch's own, from its compiler
def test_the_compiler_takes_it_whole_and_keeps_its_keys(make):
    network, (x, time), label = scramble(make(classes=3)), inputs(), torch.tensor([1, -1])
    expected, keys = network(x, time, label), list(network.state_dict())
    network.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(network(x, time, label), expected)
    assert list(network.state_dict()) == keys
