"""Every network is one graph for the compiler, without a break, in training and through a sampling trajectory."""

import pytest
import torch
from members import CLASSES, SHAPE, denoisers, network, networks

from mezzotint.data.codecs.pixels import PixelCodec
from mezzotint.diffusion import CosineSchedule, Denoiser, KeyedRandom, Trailing, Velocity, sample
from mezzotint.diffusion.samplers import DDIM

pytestmark = [
    pytest.mark.slow,  # the import of the compiler
    pytest.mark.filterwarnings("ignore"),  # torch's own, from its compiler
]


class Graphs:
    """A backend that runs graphs as they are, and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        self.count += 1
        return graph.forward


@pytest.fixture
def graphs():
    torch._dynamo.reset()
    return Graphs()


@pytest.mark.parametrize("name", [name for name in networks() if name != "autoencoder"])
def test_training_is_one_graph(name, graphs):
    """Two steps with other images, times and labels."""
    denoiser, objective = dict(denoisers())[f"network={name}"]()
    plain = dict(denoisers())[f"network={name}"]()[0]
    for one in (denoiser, plain):
        for part in one.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
    denoiser.network.compile(backend=graphs, fullgraph=True)
    for step in range(2):
        index = torch.arange(4) + 4 * step
        x = PixelCodec().encode(torch.randint(0, 256, (4, *SHAPE), dtype=torch.uint8))
        draws, label = KeyedRandom(0, index), index % CLASSES
        losses, expected = (objective(one.train(), x, draws, label=label) for one in (denoiser, plain))
        losses.mean().backward()
        torch.testing.assert_close(losses, expected, rtol=1e-4, atol=1e-5)
    assert graphs.count == 1


@pytest.mark.parametrize("name", [name for name in networks() if name != "autoencoder"])
def test_sampling_is_one_graph(name, graphs):
    eps, label = KeyedRandom(0, torch.arange(4)).normal("sample", SHAPE), torch.arange(4) % CLASSES
    found = []
    for compiled in (False, True):
        inner = network(name).eval()
        if compiled:
            inner.compile(backend=graphs, fullgraph=True)
        denoise = Denoiser(inner, CosineSchedule(), Velocity()).eval()
        found.append(sample(denoise, DDIM(), Trailing(4), eps, label=label))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)
    assert graphs.count == 1
