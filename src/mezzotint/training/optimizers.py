"""Optimisers as settings, built once the weights are on their device; the rate is a function of images seen."""

from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mezzotint.finite import Finite
from mezzotint.plain_data import is_integer
from mezzotint.training.amounts import amount_of, check
from mezzotint.training.hardware.sharding import full_tensor
from mezzotint.training.lightning_patches import skip_search_for_cuda
from mezzotint.training.lr_schedules import DECAYS, LRSchedule
from mezzotint.training.parameter_groups import SCALE, ParameterRule, grouped, parameters


class OptimizerSettings(metaclass=Finite):
    """Base of optimizers as settings: a learning rate in images, rules for groups of parameters, clipping.

    rate = lr * min(1, (n + B) / warmup) * decay(n, budget) for the step that follows n images, B of them in a batch.

    Attributes:
        lr: the highest learning rate.
        warmup: images, or below 1 the share of the budget; of several, such as (6400, 0.1), the least counts.
        decay: a schedule, or the name of one without settings: 1 - n / budget (linear), (1 + cos(pi n / budget)) / 2
            (cosine) or 1 (constant).
        clip: largest norm of the gradient; None clips nothing.
        groups: rules for the learning rate and weight decay of some parameters.
    """

    lr: float
    warmup: float | tuple[float, ...]
    decay: Literal["linear", "cosine", "constant"] | LRSchedule
    clip: float | None
    groups: tuple[ParameterRule, ...]

    def __post_init__(self) -> None:
        if not 0 < self.lr <= 1:
            raise ValueError(f"lr={self.lr}: a weight moves by about so much in a step; give more than 0 and at most 1")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip={self.clip} must be above 0")
        if isinstance(self.warmup, Sequence):
            object.__setattr__(self, "warmup", tuple(self.warmup))  # whatever list a config gives
            check("warmup", self.warmup)
        elif self.warmup < 0:
            raise ValueError(f"warmup={self.warmup} must be 0 or more")
        try:
            _ = self.schedule
        except KeyError:
            known = ", ".join(DECAYS)
            raise ValueError(f"decay={self.decay!r} is not known. Choose {known}, or an lr_schedule.") from None

    def rate(self, images: int, batch_size: int, budget: int) -> float:
        """Learning rate of the step that follows `images` images."""
        warmup = self.risen(budget)
        risen = min(1.0, (images + batch_size) / warmup) if warmup else 1.0
        return self.lr * risen * self.schedule.factor(images, budget)

    @property
    def schedule(self) -> LRSchedule:
        """The decay of the learning rate."""
        return DECAYS[self.decay] if isinstance(self.decay, str) else self.decay

    def risen(self, budget: int) -> float:
        """Images of the warm-up."""
        return amount_of(self.warmup, budget)

    def state_numbers(self, module: nn.Module) -> int:
        """Return how many numbers the state of the optimizer has: by default two moments of each parameter."""
        return 2 * sum(p.numel() for p in module.parameters())

    @abstractmethod
    def build(self, module: nn.Module, fused: bool = True) -> torch.optim.Optimizer:
        """torch's optimizer over all parameters that train; not fused beside a gradient scaler. Raises ValueError."""


def check_adam(betas: Sequence[float], eps: float, weight_decay: float) -> None:
    """Refuse settings of Adam with which no step is defined. Raises ValueError."""
    if not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"betas={list(betas)}: both must be 0 or more and below 1")
    if not eps > 0:
        raise ValueError(f"eps={eps} must be above 0")
    if weight_decay < 0:
        raise ValueError(f"weight_decay={weight_decay} must be 0 or more")


@dataclass(frozen=True)
class AdamW(OptimizerSettings):
    """AdamW with linear warm-up and a decay that ends with the budget; its other arguments are those of the base.

    Source: Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101

    Args:
        weight_decay: of matrices, kernels and embeddings; biases and norms have none.
    """

    lr: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.99)
    eps: float = 1e-8
    weight_decay: float = 0.0
    warmup: float | tuple[float, ...] = 6400
    decay: Literal["linear", "cosine", "constant"] | LRSchedule = "linear"
    clip: float | None = 1.0
    groups: tuple[ParameterRule, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_adam(self.betas, self.eps, self.weight_decay)

    def build(self, module: nn.Module, fused: bool = True) -> torch.optim.Optimizer:
        """torch's optimizer over all parameters that train. Fused is 3 to 5 times faster, on the CPU too."""
        groups = grouped([*parameters(module)], self.groups, self.weight_decay, ("matrix", "embedding"))
        return torch.optim.AdamW(groups, self.lr, self.betas, self.eps, fused=fused or None)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of each group, by its factor where it has one."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group[SCALE] if SCALE in group else rate


def rescheduled(optimizer: Any, batch_size: int, before: Any, now: int, step: int) -> str | None:
    """Return the effect of another budget on a resumed run; None where its learning rate stays the same.

    Args:
        optimizer: settings with `rate`.
        before, now: the budgets, in images; of a saved one that is no number nothing is known.
    """
    if not is_integer(before) or before < 1 or before == now:
        return None
    seen, rate = step * batch_size, optimizer.rate
    if step >= -(-now // batch_size):
        return f"{seen:,} images are seen, no fewer than budget={now} asks for: nothing is trained"
    last, following = f"{rate(seen - batch_size, batch_size, before):.2g}", f"{rate(seen, batch_size, now):.2g}"
    if last == following:
        return None
    return (
        f"budget={now} after {before}: the learning rate goes from {last} to {following}, since its decay now "
        f"ends with {now:,} images"
    )


def peak(optimizer: Any, batch_size: int, budget: int) -> tuple[float, int]:
    """The highest learning rate of a run, and the images that are seen with it: found in the rise, which has one top.

    Args:
        optimizer: settings with `rate`.
    """

    def rate(step: int) -> float:
        return optimizer.rate(step * batch_size, batch_size, budget)

    steps = -(-budget // batch_size)
    top = bisect_left(range(steps - 1), True, key=lambda step: rate(step + 1) <= rate(step))
    return rate(top), (top + 1) * batch_size


def settle(optimizer: torch.optim.Optimizer, fused: bool | None = None) -> None:
    """Adapt an optimizer, and the state that a checkpoint brought it from perhaps other hardware, to this machine.

    A fused one counts its steps on the device, every other one on the CPU. Moments get the strides of their weights:
    fused kernels walk through both together and ignore strides.

    Args:
        fused: None is how the optimizer was built.
    """
    skip_search_for_cuda(optimizer)
    fused = bool(optimizer.defaults.get("fused")) if fused is None else fused
    for group in optimizer.param_groups:
        if "fused" in group:
            group["fused"] = fused or None
        for p in group["params"]:
            state = optimizer.state.get(p, {})
            for name, value in state.items():
                if name == "step":
                    state[name] = value.to(p.device if fused else "cpu")
                elif isinstance(value, Tensor) and value.shape == p.shape and value.stride() != p.stride():
                    state[name] = torch.empty_like(p, dtype=value.dtype).copy_(value)


def gradients_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Return the gradients of an optimizer's parameters."""
    return [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


def clip_(gradients: list[Tensor], limit: float | None) -> Tensor:
    """Scale gradients in place to a norm of at most `limit`; returns the norm before, as a tensor on the device."""
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    if limit is not None:
        torch._foreach_mul_(gradients, (limit / (norm + 1e-6)).clamp(max=1.0))
    return full_tensor(norm)
