"""The U-Net in one, two and three dimensions: images as before, and one dimension more is the same network."""

import hashlib
import itertools

import pytest
import torch
from torch import Tensor, nn

from mezzotint.diffusion import DDIM, CosineSchedule, Denoiser, Trailing, Velocity, sample
from mezzotint.networks import MLP, UNet
from mezzotint.networks.layers import CONVOLUTIONS
from mezzotint.networks.unet import Stage

PLAIN = {"width": 16, "multipliers": (1, 2), "blocks": 1, "attention": (4,)}
ADM = PLAIN | {"head_width": 8, "scale_shift": True, "resample": "residual", "learned_variance": True}
SETTINGS = pytest.mark.parametrize("settings", [PLAIN, ADM], ids=["plain", "adm"])
TIME = torch.tensor([3.0, 700.0])

PINNED = {  # measured before the network knew other ranks: keys and shapes, new weights, outputs
    "ddpm": (
        {"shape": (3, 16, 16), "width": 64, "multipliers": (1, 2), "blocks": 1, "attention": (8,), "classes": 3},
        "51cb307ff039d3249514822f9a2d7885",
        "9912d3d00fda6acb711602a19032a354",
        (279.01956266211346, 0.1404473460211193),
    ),
    "adm": (
        {"shape": (1, 8, 16), "width": 32, "multipliers": (1, 2), "blocks": 1, "attention": (4,), "head_width": 16}
        | {"scale_shift": True, "resample": "residual", "learned_variance": True}
        | {"self_conditioning": True, "augmentation": 9},
        "3917d825fd32b093cb889bbd8db59abd",
        "f33388f1e226c6396c8a07f819040c25",
        (26.214062636950985, 0.06222523207929953),
    ),
}


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


@pytest.mark.parametrize("case", PINNED)
def test_a_network_of_images_is_what_it_was(case):
    settings, keys, weights, outputs = PINNED[case]
    torch.manual_seed(0)
    network = UNet(**settings)
    state = network.state_dict()
    assert sha("\n".join(f"{key} {tuple(value.shape)}" for key, value in state.items()).encode()) == keys
    assert sha(b"".join(value.numpy().tobytes() for value in state.values())) == weights
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    x, time = torch.randn(4, *settings["shape"]), torch.tensor([1.0, 100.0, 500.0, 999.0])
    y = network(x, time, *([torch.tensor([0, 1, 2, -1])] if settings.get("classes") else [])).double()
    assert (y.sum().item(), y.abs().mean().item()) == pytest.approx(outputs, rel=1e-5)


def built(shape: tuple[int, ...], settings: dict) -> UNet:
    torch.manual_seed(0)
    network = UNet(shape, **settings).double().eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network


def raised(low: UNet, high: UNet, axis: int) -> None:
    """Copy weights to a network of one dimension more, with kernels that are zero off the centre along that axis."""
    state = {}
    for (key, value), wanted in zip(low.state_dict().items(), high.state_dict().values(), strict=True):
        if value.ndim > 2:
            taps = wanted.shape[axis]
            value = torch.stack([value if i == taps // 2 else 0 * value for i in range(taps)], dim=axis)
        state[key] = value
    high.load_state_dict(state)


@SETTINGS
@pytest.mark.parametrize(("size", "axis"), [((8,), 2), ((8,), 3), ((8, 12), 2), ((12, 8), 4)], ids=str)
def test_data_constant_along_a_further_axis_give_the_network_without_it(settings, size, axis):
    """Exact: with central kernels such data stay constant, and no norm, pool or attention notices the repetition."""
    larger = list(size)
    larger.insert(axis - 2, 8)
    low, high = built((3, *size), settings), built((3, *larger), settings)
    raised(low, high, axis)
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    expected = low(x, TIME).unsqueeze(axis).expand(-1, -1, *larger)
    assert expected.std() > 0.1
    torch.testing.assert_close(high(x.unsqueeze(axis).expand(-1, -1, *larger), TIME), expected, rtol=0, atol=1e-10)


@SETTINGS
@pytest.mark.parametrize("axes", list(itertools.permutations(range(3)))[1:], ids=str)
def test_the_axes_of_a_volume_are_alike(settings, axes):
    """Permuting the axes of the data and of every kernel permutes the output."""

    def turned(value: Tensor) -> Tensor:
        return value.permute(0, 1, *(axis + 2 for axis in axes)) if value.ndim == 5 else value

    size = (8, 12, 16)
    straight, other = built((2, *size), settings), built((2, *(size[axis] for axis in axes)), settings)
    other.load_state_dict({key: turned(value) for key, value in straight.state_dict().items()})
    x = torch.randn(2, 2, *size, dtype=torch.float64)
    torch.testing.assert_close(other(turned(x), TIME), turned(straight(x, TIME)), rtol=0, atol=1e-10)


@SETTINGS
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_layers_have_the_rank_of_the_data_and_attention_its_sizes(settings, rank):
    """A new network answers zero; width 16, one block: attention at size 8 adds three blocks of 4 c^2 + 6 c."""

    def made(attention):
        return UNet((2, *(8, 16, 24)[:rank]), **settings | {"attention": attention})

    kinds = {type(part) for part in made((4,)).modules() if isinstance(part, tuple(CONVOLUTIONS.values()))}
    assert all(issubclass(kind, CONVOLUTIONS[rank]) for kind in kinds)
    count = [sum(p.numel() for p in made(attention).parameters()) for attention in ((), (8,))]
    assert count[1] - count[0] == 3 * (4 * 16**2 + 6 * 16)
    x = torch.randn(2, 2, *(8, 16, 24)[:rank])
    assert made((8, 4))(x, TIME).abs().max() == 0


@pytest.mark.parametrize("rank", [1, 3])
def test_checkpointing_gives_the_same_gradients(rank):
    network, x = built((1, *(8, 8, 8)[:rank]), ADM), torch.randn(2, 1, *(8, 8, 8)[:rank], dtype=torch.float64)

    def gradients(checkpointing: bool):
        for stage in filter(lambda part: isinstance(part, Stage), network.modules()):
            stage.checkpointing = checkpointing
        return torch.autograd.grad(network(x, TIME).square().mean(), list(network.parameters()))

    torch.testing.assert_close(gradients(True), gradients(False), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("shape", [(1, 16), (1, 8, 8, 8)], ids=str)
def test_built_without_memory_and_sampled(shape):
    with torch.device("meta"):
        network = UNet(shape, **PLAIN | {"attention": ()})
        assert network(torch.randn(2, *shape), torch.zeros(2)).shape == (2, *shape)
    denoise = Denoiser(UNet(shape, width=16, multipliers=(1, 2), attention=()), CosineSchedule(), Velocity())
    assert sample(denoise, DDIM(), Trailing(2), torch.randn(2, *shape)).shape == (2, *shape)


@pytest.mark.slow  # the import of the compiler
@pytest.mark.filterwarnings("ignore")  # torch's own, from its compiler
@pytest.mark.parametrize("shape", [(1, 16), (1, 8, 8, 8)], ids=str)
def test_the_compiler_takes_every_rank(shape):
    network = built(shape, PLAIN | {"attention": (min(shape[1:]),)})
    x = torch.randn(2, *shape, dtype=torch.float64)
    expected = network(x, TIME)
    network.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(network(x, TIME), expected)


@pytest.mark.parametrize("shape", [(2, 5), (2, 4, 3, 2)], ids=str)
def test_a_multilayer_perceptron_takes_every_rank(shape):
    assert MLP(shape, width=16)(torch.randn(3, *shape), torch.zeros(3)).shape == (3, *shape)


def test_a_size_that_does_not_divide_is_refused_with_the_nearest_sizes():
    with pytest.raises(ValueError, match=r"data of size 30 do not fit 3 levels.*nearest sizes are 28 or 32"):
        UNet((1, 30), width=16, multipliers=(1, 1, 1), attention=())
    with pytest.raises(ValueError, match=r"4 x 6 x 8 do not fit 3 levels.*nearest sizes are 4 x 4 x 8 or 4 x 8 x 8"):
        UNet((1, 4, 6, 8), width=16, multipliers=(1, 1, 1), attention=())
