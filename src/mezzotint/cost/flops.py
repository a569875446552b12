"""Parameters and floating-point operations of a network, counted without running it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Description:
    """Parameters, and floating-point operations of the forward pass of one image.

    A multiply-add counts as two; convolutions and matrix products only, as is usual.
    """

    parameters: int
    flops: int

    def __str__(self) -> str:
        return f"{self.parameters / 1e6:.2f} M parameters, {self.flops / 1e9:.2f} GFLOP an image"


def describe(network: nn.Module, shape: Sequence[int]) -> Description:
    """Count on the meta device, without memory or computation; the network is not modified.

    Args:
        network: (x, time) -> image.
        shape: (C, H, W) of one image.
    """
    state = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    shadow = {name: tensor.detach().to("meta") for name, tensor in state.items()}
    x = torch.empty(1, *shape, device="meta", dtype=next(network.parameters()).dtype)
    time = torch.empty(1, device="meta")
    # Fused attention is not counted on every device; the math backend is.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        torch.func.functional_call(network, shadow, (x, time))
    return Description(sum(p.numel() for p in network.parameters()), counter.get_total_flops())
