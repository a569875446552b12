"""Convolutions with fewer multiplications are the same convolutions."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from mezzotint.networks.cpu import winograd
from mezzotint.networks.cpu.winograd import Conv3x3, Winograd


def example(batch: int, inputs: int, outputs: int, height: int, width: int, dtype: torch.dtype) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(batch, inputs, height, width), (outputs, inputs, 3, 3), (outputs,)]
    return [torch.randn(shape, dtype=dtype, generator=generator).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("size", [(2, 2), (4, 6), (8, 2)])
@pytest.mark.parametrize("factors", [100, 2**21])  # in several portions, and in one
def test_the_convolution_and_its_derivatives(
    size: tuple[int, int], factors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winograd, "FACTORS", factors)
    x, weight, bias = example(3, 2, 3, *size, torch.float64)
    y = functional.conv2d(x, weight, bias, padding=1)
    torch.testing.assert_close(Winograd.apply(x, weight, bias), y, rtol=0, atol=1e-13)
    assert torch.autograd.gradcheck(Winograd.apply, (x, weight, bias))
    assert torch.autograd.gradgradcheck(Winograd.apply, (x, weight, bias))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_in_float32_it_is_as_exact_as_rounding_allows(layout: torch.memory_format) -> None:
    x, weight, bias = example(3, 128, 130, 16, 8, torch.float32)
    exact = functional.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    received = torch.randn(exact.shape, generator=torch.Generator().manual_seed(1))
    references = torch.autograd.grad(exact, (x, weight, bias), received.double())

    y = Winograd.apply(x.contiguous(memory_format=layout), weight, bias)
    assert y.is_contiguous(memory_format=layout)
    pairs = zip([y, *torch.autograd.grad(y, (x, weight, bias), received)], [exact, *references], strict=True)
    for mine, reference in pairs:
        error = (mine - reference).double().square().mean().sqrt() / reference.double().square().mean().sqrt()
        assert error < 1e-6


class Spy(Exception):
    """Winograd was taken."""


@pytest.fixture
def spied(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise Spy

    monkeypatch.setattr(Winograd, "apply", refuse)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")


WIDE = (128, 128)


@pytest.mark.usefixtures("spied")
def test_where_it_is_taken() -> None:
    layer, x = Conv3x3(*WIDE), torch.randn(4, 128, 32, 32)
    with pytest.raises(Spy):
        layer(x)


@pytest.mark.usefixtures("spied")
@pytest.mark.parametrize("shape", [(1, 128, 32, 32), (4, 128, 32, 33), (4, 128, 33, 32)])
def test_few_or_odd_pixels_are_left_alone(shape: tuple[int, ...]) -> None:
    layer, x = Conv3x3(*WIDE), torch.randn(shape)
    assert torch.equal(layer(x), functional.conv2d(x, layer.weight, layer.bias, padding=1))


@pytest.mark.usefixtures("spied")
def test_sampling_is_left_alone() -> None:
    layer, x = Conv3x3(*WIDE), torch.randn(4, 128, 32, 32)
    with torch.no_grad():
        layer(x)
    layer.eval()(x.requires_grad_()).sum().backward()  # guided by a gradient


@pytest.mark.usefixtures("spied")
def test_other_precisions_are_left_alone() -> None:
    layer, x = Conv3x3(*WIDE), torch.randn(4, 128, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        layer(x)
    layer.double()(x.double())


@pytest.mark.usefixtures("spied")
def test_other_processors_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    Conv3x3(*WIDE)(torch.randn(4, 128, 32, 32))


@pytest.mark.usefixtures("spied")
def test_transforms_of_functions_are_left_alone() -> None:
    layer, x = Conv3x3(*WIDE), torch.randn(4, 128, 32, 32)
    assert torch.func.grad(lambda x: layer(x).sum())(x).shape == x.shape


@pytest.mark.usefixtures("spied")
def test_counting_memory_is_left_alone() -> None:
    with FakeTensorMode():
        Conv3x3(*WIDE)(torch.empty(4, 128, 32, 32))
