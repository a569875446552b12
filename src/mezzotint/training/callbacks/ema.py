"""Averages of the weights, which are what one samples from."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mezzotint.instantiate.nodes import Recorded
from mezzotint.training.amounts import several
from mezzotint.training.callbacks.base import Callback
from mezzotint.training.hardware.sharding import full_tensor, shard_like
from mezzotint.training.training_run import TrainingRun, missing

if TYPE_CHECKING:
    from mezzotint.diffusion import Denoiser


class WeightAverages(Recorded, Callback):
    """Base of averages of the denoiser's parameters in float32, beside the live weights and never in their place.

    After each step average <- average + (1 - beta) (live - average), with a beta for each average.

    Attributes:
        averages: by name; the first is the main average, which previews and `weights=ema` take.
    """

    order = -20
    key = "ema"

    def __init__(self, names: Sequence[str]) -> None:
        self.averages: dict[str, list[Tensor]] = {name: [] for name in names}
        self.loaded: dict[str, dict[str, Tensor]] = {}
        self.names: dict[str, int] = {}
        self.live: list[Tensor] = []
        self.copy: Callable[[], Denoiser] = missing

    @abstractmethod
    def betas(self, run: TrainingRun) -> list[float]:
        """Return the weight of each old average in the step just done."""

    def start(self, run: TrainingRun) -> None:
        denoiser, self.copy = run.module.denoiser, run.copy
        named = dict(denoiser.named_parameters(prefix="denoiser"))
        number = {id(p): i for i, p in enumerate(named.values())}
        everybody = denoiser.named_parameters(prefix="denoiser", remove_duplicate=False)  # of shared ones all names
        self.names, self.live = {name: number[id(p)] for name, p in everybody}, [p.detach() for p in named.values()]
        loaded, self.loaded = self.loaded, {}
        for average in self.averages:
            old = loaded.get(average, {})
            self.averages[average] = [
                shard_like(old[name], p) if name in old else p.to(torch.float32, copy=True)
                for name, p in zip(named, self.live, strict=True)
            ]

    def step(self, run: TrainingRun) -> None:
        live = [p if p.dtype == torch.float32 else p.float() for p in self.live]
        for beta, average in zip(self.betas(run), self.averages.values(), strict=True):
            torch._foreach_lerp_(average, live, 1 - beta)

    def average(self) -> "Callable[[], Denoiser]":
        return self.denoiser

    def denoiser(self) -> "Denoiser":
        """A copy of the denoiser that holds the first average, in evaluation mode; valid until the next call."""
        copied = self.copy()
        torch._foreach_copy_(list(copied.parameters()), [full_tensor(t) for t in next(iter(self.averages.values()))])
        return copied

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """The averages by name: all weights, by their names in the module."""
        state = dict(self.loaded)
        for average, parts in self.averages.items():
            if parts:
                values = [full_tensor(part) for part in parts]
                state[average] = {name: values[i] for name, i in self.names.items()}
        return state

    def load_state_dict(self, state_dict: dict[str, dict[str, Tensor]]) -> None:
        self.loaded = state_dict


class EMA(WeightAverages):
    """Exponential moving averages: beta = 0.5^(B / min(halflife, rampup * images)).

    The half-life grows with the images seen, so that the first averages are not the untrained weights.
    Source: Karras et al. 2022, https://arxiv.org/abs/2206.00364 (training configuration)

    Args:
        halflife: images, or below 1 the share of the budget; of a list the first is the main average.
        rampup: the half-life is at most this share of the images seen so far; None has no warm-up.
    """

    def __init__(self, halflife: float | list[float] = 0.05, rampup: float | None = 0.05) -> None:
        self.halflives = several(halflife)
        if not self.halflives or min(self.halflives) <= 0 or (rampup is not None and rampup <= 0):
            raise ValueError(f"halflife={halflife}, rampup={rampup}: both must be above 0 (rampup may be null)")
        names = [f"{halflife:g}" for halflife in self.halflives]
        if len(set(names)) < len(names):
            raise ValueError(f"halflife={halflife}: averages are named by six digits, and two of these would be one")
        self.rampup = rampup
        super().__init__(names)

    def betas(self, run: TrainingRun) -> list[float]:
        return [self.beta(run.count(halflife), run.images, run.batch_size) for halflife in self.halflives]

    def beta(self, halflife: float, images: int, batch_size: int) -> float:
        """Return the weight of the old average in a step that brings the images seen to `images`."""
        if self.rampup is not None:
            halflife = min(halflife, self.rampup * images)
        return 0.5 ** (batch_size / halflife)
