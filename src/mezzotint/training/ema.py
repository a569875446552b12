"""Exponential moving averages of the weights, which are what one samples from."""

from typing import Any

import torch
from torch import Tensor

from mezzotint.training.callback import Callback, Run
from mezzotint.training.sharding import cut_like, whole


class EMA(Callback):
    """Averages of the denoiser's parameters in float32, beside the live weights and never in their place.

    After each step average <- average + (1 - beta) (live - average), beta = 0.5^(B / min(halflife, rampup * images)):
    the half-life grows with the images seen, so that the first averages are not the untrained weights.
    Source: Karras et al. 2022, https://arxiv.org/abs/2206.00364 (training configuration)

    Args:
        halflife: images, or below 1 the share of the budget; of a list the first is the main average.
        rampup: the half-life is at most this share of the images seen so far; None has no warm-up.
    """

    order = -20

    def __init__(self, halflife: float | list[float] = 0.05, rampup: float | None = 0.05) -> None:
        self.halflives = tuple(halflife) if isinstance(halflife, (list, tuple)) else (halflife,)
        if not self.halflives or min(self.halflives) <= 0 or (rampup is not None and rampup <= 0):
            raise ValueError(f"halflife={halflife}, rampup={rampup}: both must be above 0 (rampup may be null)")
        self.rampup = rampup
        self.averages: dict[str, list[Tensor]] = {}
        self.names: list[str] = []
        self.live: list[Tensor] = []
        self.copy: Any = None

    def start(self, run: Run) -> None:
        named = dict(run.module.denoiser.named_parameters(prefix="denoiser"))
        self.names, self.live = list(named), [p.detach() for p in named.values()]
        kept, self.averages = self.averages, {}
        for halflife in self.halflives:
            name = f"{halflife:g}"
            self.averages[name] = [
                cut_like(old, p) if old is not None else p.to(torch.float32, copy=True)
                for p, old in zip(self.live, kept.get(name, [None] * len(self.live)), strict=True)
            ]

    def beta(self, halflife: float, images: int, batch_size: int) -> float:
        """How much of the average stays after a step that brings the images seen to `images`."""
        if self.rampup is not None:
            halflife = min(halflife, self.rampup * images)
        return 0.5 ** (batch_size / halflife)

    def step(self, run: Run) -> None:
        live = [p if p.dtype == torch.float32 else p.float() for p in self.live]
        for halflife, average in zip(self.halflives, self.averages.values(), strict=True):
            torch._foreach_lerp_(average, live, 1 - self.beta(run.count(halflife), run.images, run.batch_size))

    def denoiser(self, run: Run) -> Any:
        """A copy of the denoiser that holds the first average, in evaluation mode; valid until the next call."""
        if self.copy is None:
            self.copy = run.copy()
        torch._foreach_copy_(list(self.copy.parameters()), [whole(t) for t in next(iter(self.averages.values()))])
        return self.copy

    def save(self, run: Run, checkpoint: dict[str, Any]) -> None:
        checkpoint["ema"] = {
            name: dict(zip(self.names, map(whole, average), strict=True)) for name, average in self.averages.items()
        }

    def load(self, run: Run, checkpoint: dict[str, Any]) -> None:
        self.averages = {name: list(average.values()) for name, average in checkpoint.get("ema", {}).items()}
