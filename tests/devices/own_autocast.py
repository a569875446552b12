"""Autocast for the name of a FakeDevice, with CUDA's lists: a backward pass in bfloat16 needs no driver there."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from fake_device import mapped
from torch import Tensor

KEY = "AutocastPrivateUse1"
LOWER = (  # torch/csrc autocast lists, as far as networks and losses use them
    *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d.input", "conv_transpose3d.input"),
    *("linear", "matmul", "mm", "mv", "bmm", "addmm", "baddbmm", "addbmm", "einsum", "prelu"),
    "scaled_dot_product_attention",
)
FLOAT32 = (
    *("exp", "expm1", "log", "log1p", "reciprocal", "rsqrt", "pow.Tensor_Scalar", "pow.Tensor_Tensor", "pow.Scalar"),
    *("softplus", "layer_norm", "group_norm", "cosine_similarity", "l1_loss", "mse_loss", "huber_loss"),
    *("softmax.int", "log_softmax.int", "cumsum", "cumprod", "prod", "sum", "sum.dim_IntList", "linalg_vector_norm"),
)
_libraries: list[torch.library.Library] = []  # a registration ends with its library


def register() -> None:
    """Let `in_bfloat16` cast on the device that has been installed in this process."""
    rest, ours = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    rest.fallback(torch.library.fallthrough_kernel, KEY)
    for names, dtype in ((LOWER, torch.bfloat16), (FLOAT32, torch.float32)):
        for name in names:
            base, _, overload = name.partition(".")
            operation = getattr(getattr(torch.ops.aten, base), overload or "default")
            ours.impl(name, casting(operation, dtype), KEY)
    _libraries.extend((rest, ours))


def casting(operation: Callable[..., Any], dtype: torch.dtype) -> Callable[..., Any]:
    """The operation on arguments of one dtype; float64 stays, as in torch."""
    without = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, KEY))

    def cast(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() and tensor.dtype != torch.float64 else tensor

    def run(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(without):
            return operation(*mapped(cast, args), **{key: mapped(cast, value) for key, value in kwargs.items()})

    return run


def in_bfloat16(name: str) -> AbstractContextManager[Any]:
    """Autocast of the device to bfloat16."""
    return torch.autocast(name, torch.bfloat16, cache_enabled=False)
