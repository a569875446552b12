"""Forward-mode derivatives of a network along the path of the probability-flow ODE."""

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from mezzotint.deferred import has_run

from ..levels import NoiseLevel
from ..schedules.continuous import Schedule

OfPath = Callable[[Tensor, Tensor], Tensor]  # a function of x (B, C, H, W) and t (B,)


def level_rate(schedule: Schedule, t: Tensor) -> tuple[Tensor, Tensor]:
    """Return d alpha / dt and d sigma / dt at times t (B,) of a continuous schedule."""

    def coefficients(t: Tensor) -> tuple[Tensor, ...]:
        level: NoiseLevel = schedule.level(t)
        return torch.as_tensor(level.alpha), torch.as_tensor(level.sigma)

    return forward_derivative(coefficients, (t,), (torch.ones_like(t),))[1]


def path_derivative(function: OfPath, x: Tensor, t: Tensor, rate: Tensor) -> Tensor:
    """Return d/dt of function(x, t) for dx/dt = rate, (B, C, H, W)."""
    with uncompiled(), unrounded(x.device):
        return forward_derivative(function, (x, t), (rate.to(x.dtype), torch.ones_like(t)))[1]


def forward_derivative(function: Callable[..., Any], at: tuple[Tensor, ...], along: tuple[Tensor, ...]) -> Any:
    """Return the value and the forward-mode derivative of a function."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*torch.jit.script", FutureWarning)  # of torch's own derivatives
        return torch.func.jvp(function, at, along)


def unrounded(device: torch.device) -> AbstractContextManager[Any]:
    """Leave autocast on a CPU, where torch (2.14) derives normalised values in another dtype than theirs."""
    return torch.autocast("cpu", enabled=False) if device.type == "cpu" else nullcontext()


def uncompiled() -> AbstractContextManager[Any]:
    """Run compiled networks as they are written: compiled code has no forward-mode derivative."""
    if not has_run("torch._dynamo"):  # nothing is compiled, and its import takes seconds
        return nullcontext()
    from torch.compiler import set_stance

    return set_stance("force_eager")
