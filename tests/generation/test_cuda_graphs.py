"""Replayed calls give what the calls give; what cannot be captured is called as it is, and a line says so.

A capture is played on the CPU: a replay that computes into one tensor, which the next replay overwrites.
"""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from mezzotint.diffusion import CosineSchedule, Denoiser, Trailing, Velocity
from mezzotint.diffusion.guidance import CFG
from mezzotint.diffusion.samplers import DDIM, DDPM, UniPC
from mezzotint.generation import SampleGenerator
from mezzotint.generation.cuda_graphs import CALLS, FORMS, GraphedNetwork, Replay, call, captured
from mezzotint.networks import MLP

SHAPE = (2, 4, 4)


class Captures:
    """Captures on the CPU; `forms` has the shape of x of each, and `replayed` counts the replays."""

    def __init__(self, error: str | None = None) -> None:
        self.error, self.replayed = error, 0
        self.forms: list[tuple[int, ...]] = []

    def __call__(self, network: nn.Module, inputs: Sequence[Tensor], names: Sequence[str]) -> Replay:
        self.forms.append(tuple(inputs[0].shape))
        if self.error:
            raise RuntimeError(self.error)
        held = [tensor.clone() for tensor in inputs]
        out = call(network, held, names)

        def replay(given: Sequence[Tensor]) -> Tensor:
            self.replayed += 1
            for mine, new in zip(held, given, strict=True):
                mine.copy_(new)
            out.copy_(call(network, held, names))
            return out.clone()

        return replay


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(MLP(SHAPE, classes=3, width=16), CosineSchedule(), Velocity()).eval()


def drawn(denoiser: Denoiser, sampler, captures: Captures | None, guidance=None) -> Tensor:
    def replay(denoise: Denoiser) -> Denoiser:
        return denoise.using(GraphedNetwork(denoise.network, captures, "cpu"))

    generator = SampleGenerator(
        denoiser, sampler, Trailing(25), SHAPE, 1, 3, 4, guidance, replay=replay if captures else None
    )
    return generator.images(0, 10)[0]


@pytest.mark.parametrize("guidance", [None, lambda inner: CFG(inner, 2.0)], ids=["plain", "guided"])
@pytest.mark.parametrize("sampler", [DDIM(), DDPM(), UniPC()], ids=repr)
def test_samples_are_those_of_calls(denoiser, sampler, guidance):
    """Also of a sampler that keeps earlier results, and where the last batch is smaller."""
    captures = Captures()
    assert torch.equal(drawn(denoiser, sampler, captures, guidance), drawn(denoiser, sampler, None, guidance))
    assert len(captures.forms) == 2
    assert len(set(captures.forms)) == 2
    assert captures.replayed == 3 * 25 - 2 * CALLS


def test_what_cannot_be_captured_is_called_and_said_once(denoiser, capsys):
    captures = Captures("operation not permitted\nwhen stream is capturing")
    assert torch.equal(drawn(denoiser, DDIM(), captures), drawn(denoiser, DDIM(), None))
    assert len(captures.forms) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "cannot be captured (operation not permitted when stream is capturing)" in said[0]


def test_gradients_and_other_devices_are_never_captured(denoiser):
    captures = Captures()
    x, time = torch.zeros(1, *SHAPE), torch.zeros(1)
    here, there = (GraphedNetwork(denoiser.network, captures, device) for device in ("cpu", "cuda"))
    for _ in range(CALLS + 2):
        assert here(x.requires_grad_(), time).requires_grad
        with torch.no_grad():
            there(x, time)
    assert captures.forms == []


def test_few_graphs_are_kept(denoiser):
    captures = Captures()
    network = GraphedNetwork(denoiser.network, captures, "cpu")
    with torch.no_grad():
        for size in range(1, FORMS + 3):
            x = torch.randn(size, *SHAPE)
            for _ in range(CALLS + 1):
                torch.testing.assert_close(network(x, torch.ones(size)), denoiser.network(x, torch.ones(size)))
    assert len(captures.forms) == FORMS


@pytest.mark.cuda
def test_a_gpu_gives_the_same_samples(denoiser):
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    on_gpu = Denoiser(MLP(SHAPE, classes=3, width=16), CosineSchedule(), Velocity()).eval().to("cuda")
    network = GraphedNetwork(on_gpu.network, captured)
    replay = SampleGenerator(
        on_gpu, DDPM(), Trailing(25), SHAPE, 1, 3, 4, replay=lambda denoise: denoise.using(network)
    ).images(0, 10)[0]
    assert torch.equal(replay, SampleGenerator(on_gpu, DDPM(), Trailing(25), SHAPE, 1, 3, 4).images(0, 10)[0])
    assert network.possible
    assert len(network.replays) == 2
