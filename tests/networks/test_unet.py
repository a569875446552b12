"""The U-Net: published sizes, an independent implementation, and what it promises about inputs."""

import pytest
import torch
from torch import nn

from mezzotint.networks import MLP, UNet
from mezzotint.networks.layers import Upsample
from mezzotint.networks.unet import Stage

ADM = {
    "scale_shift": True,
    "resample": "residual",
    "learned_variance": True,
    "head_width": 64,
    "attention": (32, 16, 8),
}


def tiny(**changes) -> UNet:
    settings = {"shape": (3, 8, 8), "width": 16, "multipliers": (1, 2), "blocks": 1, "attention": (4,), **changes}
    return scramble(UNet(**settings)).eval()


def scramble(network: nn.Module) -> nn.Module:
    """Random values everywhere, so that no zero-initialised layer hides a mistake."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network


@pytest.mark.parametrize(
    ("settings", "null", "published"),
    [
        pytest.param({"shape": (3, 32, 32)}, 0, 35_746_307, id="DDPM CIFAR-10, the paper's 35.7M"),
        pytest.param({"shape": (3, 256, 256), "multipliers": (1, 1, 2, 2, 4, 4)}, 0, 113_673_219, id="DDPM 256, 114M"),
        pytest.param({"shape": (3, 64, 64), "multipliers": (1, 2, 2, 2, 4)}, 0, 78_700_803, id="DDIM CelebA-64"),
        pytest.param(
            {
                "shape": (3, 32, 32),
                "blocks": 3,
                "attention": (16, 8),
                "heads": 4,
                "scale_shift": True,
                "learned_variance": True,
            },
            0,
            52_546_438,
            id="improved DDPM CIFAR-10",
        ),
        pytest.param(
            {**ADM, "shape": (3, 64, 64), "classes": 1000, "width": 192, "multipliers": (1, 2, 3, 4), "blocks": 3},
            768,
            295_904_454,
            id="ADM ImageNet-64",
        ),
        pytest.param(
            {**ADM, "shape": (3, 256, 256), "width": 256, "multipliers": (1, 1, 2, 2, 4, 4)},
            0,
            552_814_086,
            id="ADM LSUN",
        ),
    ],
)
def test_published_networks_have_their_number_of_parameters(settings, null, published):
    """`null` is the row that our label table has for "no class" and the published networks lack."""
    with torch.device("meta"):
        network = UNet(**settings)
    assert sum(parameter.numel() for parameter in network.parameters()) == published + null


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 16), (5, 12, 4)], ids=str)
def test_any_channels_and_sides_that_divide(shape):
    x = torch.randn(2, *shape)
    assert tiny(shape=shape)(x, torch.tensor([1.0, 500.0])).shape == x.shape


def test_learned_variance_doubles_the_channels():
    assert tiny(learned_variance=True)(torch.randn(2, 3, 8, 8), torch.zeros(2)).shape == (2, 6, 8, 8)


@pytest.mark.parametrize(
    ("shape", "nearest"),
    [
        ((3, 30, 30), "24 x 24 or 32 x 32"),
        ((1, 28, 28), "24 x 24 or 32 x 32"),
        ((3, 30, 40), "24 x 40 or 32 x 40"),
        ((3, 5, 5), "8 x 8."),
    ],
    ids=str,
)
def test_a_size_that_does_not_divide_is_refused_with_the_nearest_sizes(shape, nearest):
    with pytest.raises(ValueError, match=r"divisible by 8") as error:
        UNet(shape, width=16, attention=())
    assert f"The nearest sizes are {nearest}" in str(error.value)
    assert "fewer multipliers" in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention": (16,)}, r"no level has size 16. The levels have 8, 4"),
        ({"multipliers": ()}, "no level"),
        ({"blocks": 0}, "blocks=0"),
        ({"heads": 3}, "heads=3"),
        ({"head_width": 64}, "head_width=64"),
        ({"width": 15, "attention": ()}, "even"),
        ({"resample": "bilinear"}, "'bilinear' is not known"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused_when_built(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny(**changes)


def test_attention_at_a_level_adds_exactly_its_blocks():
    """Level 0 (width 16, 1 block): one more on the way down, two on the way up, each 4 c^2 + 4 c + 2 c."""

    def count(attention):
        return sum(parameter.numel() for parameter in tiny(attention=attention).parameters())

    assert count((8,)) - count(()) == 3 * (4 * 16**2 + 6 * 16)


def test_time_and_label_matter():
    network, x = tiny(classes=3), torch.randn(1, 3, 8, 8)
    inputs = [(1.0, 0), (2.0, 0), (1.0, 1), (1.0, -1)]
    outputs = [network(x, torch.tensor([time]), torch.tensor([label])) for time, label in inputs]
    for i, one in enumerate(outputs):
        for other in outputs[:i]:
            assert (one - other).abs().max() > 1e-3


def test_no_label_is_the_null_label_and_the_last_row():
    network, x, time = tiny(classes=3), torch.randn(2, 3, 8, 8), torch.tensor([1.0, 2.0])
    without = network(x, time)
    torch.testing.assert_close(without, network(x, time, torch.tensor([-1, -1])), rtol=0, atol=0)
    assert network.embedding.label is not None
    with torch.no_grad():
        network.embedding.label.table.weight[-1] += 1
    assert (network(x, time) - without).abs().max() > 1e-3


@pytest.mark.parametrize("label", [3, 4, -2])
def test_a_label_outside_the_classes_is_an_error(label):
    with pytest.raises(IndexError):
        tiny(classes=3)(torch.randn(1, 3, 8, 8), torch.zeros(1), torch.tensor([label]))


def test_a_label_without_classes_is_an_error():
    with pytest.raises(ValueError, match="classes=0"):
        tiny()(torch.randn(1, 3, 8, 8), torch.zeros(1), torch.tensor([0]))


def test_a_new_network_answers_zero_and_every_block_starts_as_its_shortcut():
    network = UNet((3, 8, 8), width=16, multipliers=(1, 2), attention=(4,))
    assert network(torch.randn(2, 3, 8, 8), torch.zeros(2)).abs().max() == 0
    stage = network.middle[0]
    x = torch.randn(2, 32, 4, 4)
    torch.testing.assert_close(stage(x, torch.randn(2, 64)), x, rtol=0, atol=0)


def test_dropout_acts_in_training_only():
    network, x, time = tiny(dropout=0.5), torch.randn(1, 3, 8, 8), torch.zeros(1)
    torch.testing.assert_close(network(x, time), network(x, time), rtol=0, atol=0)
    network.train()
    assert (network(x, time) - network(x, time)).abs().max() > 1e-3


@pytest.mark.parametrize("resample", ["plain", "residual"])
def test_checkpointing_changes_neither_outputs_nor_gradients_and_stores_less(resample):
    def run(checkpointing):
        network = tiny(resample=resample, scale_shift=True)
        for stage in filter(lambda part: isinstance(part, Stage), network.modules()):
            stage.checkpointing = checkpointing
        torch.manual_seed(1)
        stored = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: stored.append(t.numel()) or t, lambda t: t):
            loss = network(torch.randn(2, 3, 8, 8), torch.tensor([1.0, 9.0])).square().mean()
        return sum(stored), loss, torch.autograd.grad(loss, list(network.parameters()))

    (stored, loss, gradients), (less, same_loss, same_gradients) = run(False), run(True)
    torch.testing.assert_close((loss, gradients), (same_loss, same_gradients), rtol=1e-6, atol=1e-7)
    assert less < 0.8 * stored


def test_time_is_resolved_in_a_bfloat16_network():
    """999 and 1000 are one number in bfloat16; the network takes float32 times and must tell them apart."""
    network, x = tiny().bfloat16(), torch.randn(1, 3, 8, 8).bfloat16()
    late, later = (network(x, torch.tensor([time])) for time in (999.0, 1000.0))
    assert late.dtype == torch.bfloat16
    assert (late - later).abs().max() > 0


def test_float64_throughout():
    network = tiny().double()
    assert network(torch.randn(1, 3, 8, 8, dtype=torch.float64), torch.zeros(1)).dtype == torch.float64


@pytest.mark.parametrize(("weights", "state"), [(torch.bfloat16, torch.float32), (torch.float32, torch.float64)])
def test_a_state_may_be_finer_than_the_weights(weights, state):
    """Sampling keeps its state in float32 at least, whatever the network computes in."""
    for network in (tiny(), MLP((3, 8, 8))):
        assert network.to(weights)(torch.randn(1, 3, 8, 8, dtype=state), torch.zeros(1)).dtype == weights


def test_channels_last_gives_the_same_numbers():
    network, x, time = tiny(heads=2), torch.randn(2, 3, 8, 8), torch.tensor([1.0, 2.0])
    expected = network(x, time)
    network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(network(x.contiguous(memory_format=torch.channels_last), time), expected)


@pytest.mark.parametrize("size", [(4, 6), (1, 1), (2, 1)], ids=str)
def test_the_merged_convolution_is_the_repeated_one(size):
    """Upsample merges weights in float32; in float64 it takes the way that defines it."""
    torch.manual_seed(0)
    layer, x = Upsample(5), torch.randn(2, 5, *size)
    factor = torch.randn(2, 5, 2 * size[0], 2 * size[1])

    def outcome(layer, x):
        x = x.clone().requires_grad_()
        output = layer(x, torch.empty(0))
        gradients = torch.autograd.grad((output * factor).sum(), [x, *layer.parameters()])
        return [tensor.double() for tensor in (output, *gradients)]

    torch.testing.assert_close(outcome(layer, x), outcome(layer.double(), x.double()), rtol=1e-5, atol=1e-5)


@pytest.mark.slow  # the import of the compiler
@pytest.mark.filterwarnings("ignore")  # torch's own, from its compiler
def test_the_compiler_takes_it_whole_and_keeps_its_keys():
    network, x, time = tiny(classes=3, scale_shift=True), torch.randn(2, 3, 8, 8), torch.tensor([1.0, 2.0])
    expected, keys = network(x, time), list(network.state_dict())
    network.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(network(x, time), expected)
    assert list(network.state_dict()) == keys


def test_an_estimate_is_seen_beside_x():
    network = tiny(self_conditioning=True)
    x, time, estimate = torch.randn(2, 3, 8, 8), torch.tensor([3.0, 500.0]), torch.randn(2, 3, 8, 8)
    assert torch.equal(network(x, time), network(x, time, estimate=torch.zeros_like(x)))
    assert not torch.allclose(network(x, time), network(x, time, estimate=estimate))
    swapped = tiny(self_conditioning=True)
    swapped.first.weight.data = torch.cat(swapped.first.weight.data.chunk(2, 1)[::-1], 1)
    torch.testing.assert_close(swapped(estimate, time, estimate=x), network(x, time, estimate=estimate))


def test_an_estimate_costs_the_input_channels_alone():
    count = [sum(p.numel() for p in tiny(self_conditioning=on).parameters()) for on in (False, True)]
    assert count[1] - count[0] == 3 * 16 * 3 * 3


def test_an_estimate_for_a_network_without_is_an_error():
    x = torch.randn(1, 3, 8, 8)
    with pytest.raises(ValueError, match="self_conditioning=false takes no estimate"):
        tiny()(x, torch.ones(1), estimate=x)


def test_augmentation_is_told_and_zeros_are_none():
    network = tiny(augmentation=9)
    x, time, told = torch.randn(2, 3, 8, 8), torch.tensor([3.0, 500.0]), torch.randn(2, 9)
    assert torch.equal(network(x, time), network(x, time, augment=torch.zeros(2, 9)))
    assert not torch.allclose(network(x, time), network(x, time, augment=told))
    with pytest.raises(ValueError, match="build it with augmentation=9"):
        tiny()(x, time, augment=told)


@pytest.mark.parametrize("network", [UNet, MLP])
@pytest.mark.parametrize("shape", [(8,), (1, 2, 8, 8, 8), (1, 0, 8), (1, 8.0, 8), "1,8", 8, (), (-1, 8, 8), (True, 8)])
def test_a_shape_that_is_no_data_is_refused(network, shape):
    with pytest.raises(ValueError, match="is not channels and one to three sizes"):
        network(shape)
