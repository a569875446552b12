"""DDPM++, NCSN++ and the U-Net of EDM2: a second writing, magnitudes, and what every network promises."""

import copy

import pytest
import torch
from edm_reference import edm2, song_unet
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from mezzotint.networks import EDM2UNet, SongUNet, VectorCondition
from mezzotint.networks.fir import FIRDown2x, FIRUp2x, doubling, halving
from mezzotint.networks.layers import AvgPool2x, Nearest2x
from mezzotint.networks.magnitude import MPWeight, mp_cat, mp_silu, mp_sum, normalized
from mezzotint.runs.published import edm as names
from mezzotint.runs.published.entries import write_state

NCSNPP = {"features": "fourier", "encoder": "residual", "taps": (1, 3, 3, 1)}
SONG = {
    "DDPM++": {},
    "NCSN++": NCSNPP,
    "progressive": {**NCSNPP, "decoder": "skip"},
}


def scramble(network: nn.Module, std: float) -> nn.Module:
    """Random values everywhere, so that no zero-initialised layer hides a mistake."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=std)
    return network.eval()


def tiny_song(**changes) -> SongUNet:
    settings = {"shape": (3, 16, 16), "width": 16, "multipliers": (1, 2, 2), "blocks": 2, "attention": (8,), **changes}
    return scramble(SongUNet(**settings), 0.1)


def tiny_edm2(**changes) -> EDM2UNet:
    settings = {"shape": (3, 16, 16), "width": 32, "multipliers": (1, 2), "blocks": 2, "attention": (8,), **changes}
    return scramble(EDM2UNet(**settings), 1.0)


NETWORKS = [
    pytest.param(lambda **more: tiny_song(**more), id="DDPM++"),
    pytest.param(lambda **more: tiny_song(**NCSNPP, **more), id="NCSN++"),
    pytest.param(lambda **more: tiny_edm2(**more), id="EDM2"),
]


def inputs(network: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.randn(3, *network.shape), torch.tensor([-1.2, 0.1, 0.9])


# ------------------------------------------------------------------------------------------------------ second writing


@pytest.mark.parametrize("case", SONG)
def test_song_unet_equals_a_second_writing(case):
    network = tiny_song(classes=4, augmentation=9, **SONG[case])
    x, time = inputs(network)
    state = write_state(network.state_dict(), names.song_unet(network))
    label, augment = torch.tensor([0, 3, -1]), torch.randn(3, 9)
    one_hot = functional.one_hot(label.clamp(min=0), 4).float() * (label >= 0)[:, None]
    expected = song_unet(state, x, time, one_hot, augment, list(SONG[case].get("taps", (1, 1))))
    assert expected.std() > 0.05
    with torch.no_grad():
        torch.testing.assert_close(network(x, time, label, augment), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shares", [(0.3, 0.3, 0.5, 0.5), (0.2, 0.4, 0.6, 0.7)], ids=str)
def test_edm2_equals_a_second_writing(shares):
    settings = dict(zip(("residual_share", "attention_share", "label_share", "skip_share"), shares, strict=True))
    network = tiny_edm2(classes=4, width=64, **settings)
    x, time = inputs(network)
    state = write_state(network.state_dict(), names.edm2(network))
    label = torch.tensor([0, 3, -1])
    one_hot = functional.one_hot(label.clamp(min=0), 4).float() * (label >= 0)[:, None]
    with torch.no_grad():
        expected = edm2(state, x, time, one_hot, shares)
        torch.testing.assert_close(network(x, time, label), expected, rtol=1e-5, atol=1e-5)
    assert expected.std() > 0.05


def test_a_filter_of_two_taps_is_average_pooling_and_repetition():
    x = torch.randn(2, 3, 6, 4)
    torch.testing.assert_close(FIRDown2x((1, 1))(x), AvgPool2x()(x))
    torch.testing.assert_close(FIRUp2x((1, 1))(x), Nearest2x()(x))
    assert isinstance(halving((1, 1)), AvgPool2x)
    assert isinstance(doubling((1, 1)), Nearest2x)


# ---------------------------------------------------------------------------------------------------------- magnitudes


def rms(x: torch.Tensor) -> float:
    return float(x.detach().square().mean().sqrt())


def test_the_magnitude_preserving_functions_keep_unit_variance():
    torch.manual_seed(0)
    a, b = torch.randn(64, 96, 16, 16), torch.randn(64, 32, 16, 16)
    assert rms(mp_silu(a)) == pytest.approx(1.0, abs=0.005)
    assert rms(mp_sum(a[:, :32], b, 0.3)) == pytest.approx(1.0, abs=0.005)
    joined = mp_cat(a, b, 0.5)
    assert rms(joined) == pytest.approx(1.0, abs=0.005)
    shares = joined[:, :96].square().sum(), joined[:, 96:].square().sum()  # equal, whatever the channels
    assert float(shares[0] / shares[1]) == pytest.approx(1.0, abs=0.01)
    assert rms(normalized(5.0 * a, 1)) == pytest.approx(1.0, abs=0.005)


@pytest.mark.parametrize("taps", [0, 1, 3])
def test_a_layer_preserves_magnitude_whatever_the_size_of_its_weights(taps):
    torch.manual_seed(0)
    layer = MPWeight(64, 48, taps)
    x = torch.randn(64, 64) if taps == 0 else torch.randn(8, 64, 32, 32)
    output = layer(x)
    assert rms(output) == pytest.approx(1.0, abs=0.06)  # zeros are padded around the image
    with torch.no_grad():
        layer.weight *= 7.0
    torch.testing.assert_close(layer(x), output, rtol=1e-3, atol=1e-3)
    layer.constrain()
    rows = layer.weight.flatten(1).square().mean(1).sqrt()
    torch.testing.assert_close(rows, torch.ones_like(rows), rtol=0, atol=2e-4)
    torch.testing.assert_close(layer(x), output, rtol=1e-3, atol=1e-3)


def test_edm2_preserves_magnitude_from_input_to_output_when_new():
    torch.manual_seed(0)
    network = EDM2UNet((3, 16, 16), width=64, multipliers=(1, 2), blocks=3, attention=(8,), head_width=32)
    x, time = torch.randn(16, 3, 16, 16), torch.randn(16)
    assert network(x, time).abs().max() == 0  # the last gain is 0
    nn.init.ones_(network.gain)
    sizes = []
    for part in network.modules():
        if type(part).__name__ == "MPBlock":
            part.register_forward_hook(lambda *args: sizes.append(rms(args[-1])))
    with torch.no_grad():
        assert rms(network(x, time)) == pytest.approx(1.0, abs=0.25)
    assert len(sizes) == 18
    assert all(0.75 < size < 1.25 for size in sizes), sizes


def test_edm2_preserves_magnitude_whatever_the_size_of_its_conditions():
    torch.manual_seed(0)
    pose = VectorCondition(5, frequencies=0)
    network = EDM2UNet((3, 16, 16), width=64, multipliers=(1, 2), attention=(8,), head_width=32, conditions={"y": pose})
    for size in (1.0, 1000.0):
        embedding = network.embed(
            torch.randn(64), None, network.conditions(torch.ones(64, 1), {"y": torch.randn(64, 5) * size})
        )
        assert rms(embedding) == pytest.approx(1.0, abs=0.1)


# ------------------------------------------------------------------------------------------------------ every network


@pytest.mark.parametrize("make", NETWORKS)
def test_no_label_is_the_null_label_and_another_is_refused(make):
    network = make(classes=3)
    x, time = inputs(network)
    without = network(x, time)
    torch.testing.assert_close(without, network(x, time, torch.full((3,), -1)), rtol=0, atol=0)
    assert (network(x, time, torch.tensor([0, 1, 2])) - without).abs().max() > 1e-3
    for label in (3, -2):
        with pytest.raises(IndexError):
            network(x[:1], time[:1], torch.tensor([label]))
    with pytest.raises(ValueError, match="classes=0"):
        make()(x, time, torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize("make", NETWORKS)
def test_recomputation_changes_neither_outputs_nor_gradients_and_stores_less(make):
    def run(checkpointing):
        network = make().train()
        for part in network.modules():
            if isinstance(getattr(part, "checkpointing", None), bool):
                part.checkpointing = checkpointing
        stored = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: stored.append(t.numel()) or t, lambda t: t):
            loss = network(*inputs(network)).square().mean()
        return sum(stored), loss, torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)

    (stored, loss, gradients), (less, same_loss, same_gradients) = run(False), run(True)
    torch.testing.assert_close((loss, gradients), (same_loss, same_gradients), rtol=1e-5, atol=1e-6)
    assert less < 0.8 * stored


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's own
@pytest.mark.parametrize("make", NETWORKS)
def test_forward_derivatives_are_those_of_a_difference(make):
    network = make().double()
    x, time = (value.double() for value in inputs(network))
    direction = torch.randn_like(x)
    with sdpa_kernel(SDPBackend.MATH):  # the fused kernels of torch have none
        _, along = torch.func.jvp(lambda x: network(x, time), (x,), (direction,))
    with torch.no_grad():
        difference = (network(x + 1e-6 * direction, time) - network(x - 1e-6 * direction, time)) / 2e-6
    torch.testing.assert_close(along, difference, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", NETWORKS)
def test_a_state_may_be_finer_than_the_weights(make):
    network = make().bfloat16()
    x, time = inputs(network)
    assert network(x, time).dtype == torch.bfloat16
    assert make().double()(x.double(), time).dtype == torch.float64


@pytest.mark.slow  # the import of the compiler
@pytest.mark.filterwarnings("ignore")  # torch's own, from its compiler
@pytest.mark.parametrize("make", NETWORKS)
def test_the_compiler_takes_it_in_one_graph_and_keeps_its_keys(make):
    network = make(classes=3)
    x, time = inputs(network)
    label = torch.tensor([0, 1, -1])
    expected, keys = network(x, time, label), list(network.state_dict())
    network.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(network(x, time, label), expected)
    assert list(network.state_dict()) == keys


@pytest.mark.parametrize("make", NETWORKS)
def test_sizes_that_do_not_fit_are_refused(make):
    with pytest.raises(ValueError, match="divisible by"):
        make(shape=(3, 15, 16))
    with pytest.raises(ValueError, match="no level has size 5"):
        make(attention=(5,))
    assert copy.deepcopy(make(shape=(1, 8, 16), attention=()))(torch.randn(1, 1, 8, 16), torch.zeros(1)).ndim == 4


def test_unknown_branches_and_heads_are_refused():
    for name in ("features", "encoder", "decoder"):
        with pytest.raises(ValueError, match=f"{name}='x' is not known"):
            tiny_song(**{name: "x"})
    with pytest.raises(ValueError, match="head_width=48 does not divide"):
        tiny_edm2(head_width=48)
