"""Muon for hidden matrices and kernels, AdamW for all other parameters."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mezzotint.training.hardware.sharding import full_tensor, is_shard, shard_like
from mezzotint.training.lr_schedules import LRSchedule
from mezzotint.training.optimizers import OptimizerSettings, check_adam
from mezzotint.training.parameter_groups import Parameter, ParameterRule, grouped, parameters

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # of p(s) = a s + b s^3 + c s^5, which drives singular values to about 1


@dataclass(frozen=True)
class Muon(OptimizerSettings):
    """Momentum, orthogonalised, for hidden matrices; AdamW for biases, norms, embeddings, and the outer layers.

    B <- mu B + (1 - mu) G, W <- (1 - lr wd) W - lr s(W) NS(mu B + (1 - mu) G), where NS(M) is about U V^T of
    M = U S V^T by five Newton-Schulz iterations, and s(W) = 0.2 sqrt(max(rows, columns)) gives updates the size of
    AdamW's, so that one learning rate serves both. A kernel counts as the matrix of its output channels by all else.
    Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; the scale: Liu et al. 2025,
    https://arxiv.org/abs/2502.16982. Its other arguments are those of the base.

    Args:
        momentum: mu.
        weight_decay: of matrices and kernels.
        betas, eps: of AdamW.
        thin: matrices with fewer rows or columns are AdamW's, such as the first and last layers, which have as many as
            an image has channels.
    """

    lr: float = 2e-3
    momentum: float = 0.95
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.99)
    eps: float = 1e-8
    thin: int = 16
    warmup: float | tuple[float, ...] = 6400
    decay: Literal["linear", "cosine", "constant"] | LRSchedule = "linear"
    clip: float | None = 1.0
    groups: tuple[ParameterRule, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_adam(self.betas, self.eps, self.weight_decay)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum={self.momentum} must be 0 or more and below 1")

    def state_numbers(self, module: nn.Module) -> int:
        return sum(one.value.numel() * (1 if self.orthogonalised(one) else 2) for one in parameters(module))

    def build(self, module: nn.Module, fused: bool = True) -> torch.optim.Optimizer:
        """Both optimizers as one."""
        hidden: list[Parameter] = []
        others: list[Parameter] = []
        for one in parameters(module):
            (hidden if self.orthogonalised(one) else others).append(one)
        members: list[torch.optim.Optimizer] = []
        if hidden:
            groups = grouped(hidden, self.groups, self.weight_decay)
            members.append(OrthogonalMomentum(groups, self.lr, self.momentum))
        if others:
            groups = grouped(others, self.groups, self.weight_decay)
            members.append(torch.optim.AdamW(groups, self.lr, self.betas, self.eps, fused=fused or None))
        return Combined(members, fused=fused or None)

    def orthogonalised(self, one: Parameter) -> bool:
        rows = one.value.shape[0] if one.value.ndim else 0
        return one.kind == "matrix" and min(rows, one.value.numel() // max(1, rows), *one.value.shape[:2]) >= self.thin


class OrthogonalMomentum(torch.optim.Optimizer):
    """Muon's step for matrices and kernels; equal to torch.optim.Muon with `match_rms_adamw` where that takes them.

    Matrices that are shards are put together on every rank, since orthogonalising takes all of a matrix.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], lr: float, momentum: float) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        loss = evaluated(closure)
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            for p in (p for p in group["params"] if p.grad is not None):
                if not self.state[p]:
                    self.state[p]["momentum_buffer"] = torch.zeros_like(p)
                buffer = self.state[p]["momentum_buffer"]
                buffer.lerp_(p.grad, 1 - momentum)
                update = orthogonal(full_tensor(p.grad.lerp(buffer, momentum)).flatten(1))
                p.mul_(1 - lr * group["weight_decay"])
                step = update.view(p.shape)
                p.add_(shard_like(step, p) if is_shard(p) else step, alpha=-lr * 0.2 * math.sqrt(max(update.shape)))
        return loss


class Combined(torch.optim.Optimizer):
    """Several optimizers of different parameters that step as one, with one list of groups and one state."""

    def __init__(self, members: Sequence[torch.optim.Optimizer], fused: bool | None) -> None:
        self.members = list(members)
        super().__init__([group for member in members for group in member.param_groups], {"fused": fused})
        self.share()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.share()

    def share(self) -> None:
        """Let the members work on this optimizer's groups and state, which a checkpoint may have replaced."""
        start = 0
        for member in self.members:
            end = start + len(member.param_groups)
            member.param_groups, member.state = self.param_groups[start:end], self.state
            start = end

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        loss = evaluated(closure)
        for member in self.members:
            member.step()
        return loss


def evaluated(closure: Callable[[], float] | None) -> float | None:
    """Return the loss that a closure computes with its gradients; None without a closure."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


def arithmetic(device: torch.device) -> torch.dtype:
    """Return the dtype of Newton-Schulz iterations: bfloat16 on CUDA; elsewhere it is no faster, or emulated."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def orthogonal(matrix: Tensor) -> Tensor:
    """Return about U V^T of a matrix U S V^T: singular values between 0.7 and 1.2."""
    a, b, c = NEWTON_SCHULZ
    x = matrix.to(arithmetic(matrix.device))
    if tall := x.shape[0] > x.shape[1]:
        x = x.T
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x
