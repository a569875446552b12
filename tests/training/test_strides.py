"""Gradients of parameters with dimensions of size 1, whose strides kernels set as they like."""

import pytest
import torch
from torch import nn

from mezzotint.training.hardware.strides import keep_strides, restriding


def module(parameter: torch.Tensor) -> nn.Module:
    held = nn.Module()
    held.weight = nn.Parameter(parameter)
    return held


@pytest.mark.parametrize(
    ("shape", "strides"),
    [((4, 4, 1, 1), (4, 1, 4, 4)), ((6, 1, 3, 3), (9, 1, 3, 1)), ((1, 5), (1, 1)), ((1, 4, 3, 3), (3, 9, 3, 1))],
)
def test_a_gradient_takes_the_strides_of_its_parameter_and_keeps_its_numbers(shape, strides):
    held = module(torch.zeros(shape))
    keep_strides(held)
    source = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    gradient = torch.empty_strided(shape, strides).copy_(source)
    held.weight.expand_as(gradient).backward(gradient)
    assert held.weight.grad.stride() == held.weight.stride()
    assert torch.equal(held.weight.grad, source)


def test_no_memory_is_moved():
    gradient = torch.randn(4, 4, 1, 1).as_strided((4, 4, 1, 1), (4, 1, 4, 4))
    kept = restriding((4, 1, 1, 1))(gradient)
    assert kept.stride() == (4, 1, 1, 1)
    assert kept.data_ptr() == gradient.data_ptr()


def test_what_lies_otherwise_is_left_to_autograd():
    gradient = torch.randn(2, 3, 1).transpose(0, 1).contiguous().transpose(0, 1)
    assert restriding((3, 1, 1))(gradient) is gradient
