"""Classifier-free guidance and its variants, and autoguidance: from a weak prediction towards a strong one."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from ..conditions import concatenated, without
from ..coordinates import FlowCoordinate
from ..denoiser import Denoise
from ..levels import NoiseLevel, broadcast_like
from ..prediction import Prediction, Renoised
from .base import Guidance, is_denoiser

if TYPE_CHECKING:
    from ..samplers import Sampler


@dataclass(frozen=True)
class PairwiseGuidance(Guidance):
    """Guidance from a weak prediction towards a strong one; a subclass combines the two.

    w = 0 is exactly the weak prediction and w = 1 exactly the strong one, each with one call of the batch.

    Source: for the interval of levels Kynkaanniemi et al. 2024, eq. 5, https://arxiv.org/abs/2404.07724

    Args:
        scale: w.
        weak: a weaker denoiser, such as an earlier snapshot or a smaller network; None for the same one without its
            conditions.
        low, high: guidance is applied where low < sigma / alpha <= high; elsewhere the strong prediction is used.
        conditions: names of the conditions that the weak prediction lacks; None for the label, and for all where there
            is no label.
        null: by name, what stands in their place in the weak prediction, such as the embedding of a negative prompt,
            (1, ...) or (B, ...); by default their null.
    """

    scale: float = 1.0
    weak: Denoise | None = None
    low: float = 0.0
    high: float = math.inf
    conditions: tuple[str, ...] | None = field(default=None, kw_only=True)
    null: Mapping[str, Tensor] | None = field(default=None, kw_only=True, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.conditions is not None:
            object.__setattr__(self, "conditions", tuple(self.conditions))
        if not 0.0 <= self.low < self.high:
            raise ValueError(
                f"low={self.low:g}, high={self.high:g}: guidance is applied in between; give 0 <= low < high."
            )
        if not math.isfinite(self.scale):
            raise ValueError(f"scale={self.scale}: give a finite number.")
        if self.weak is not None and not is_denoiser(self.weak):
            raise ValueError(
                f"weak={self.weak!r} is not a denoiser. Pass settings after `scale` by name, such as phi=0.7."
            )

    @abc.abstractmethod
    def combine(self, weak: Prediction, strong: Prediction) -> Prediction:
        """Return the guided prediction."""

    def begin(self) -> Denoise:
        return replace(self, inner=self._wrapped().begin(), weak=self.weak and self.weak.begin())

    def __call__(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction:
        if not self.acts(level):
            return self.inner(x, level, **cond)
        if self.weak is None:
            return self._against_null(x, level, **cond)
        weak = self.weak(x, level, **cond)
        return weak if self.scale == 0.0 else self.combine(weak, self.inner(x, level, **cond))

    def acts(self, level: NoiseLevel) -> bool:
        """Return whether the weak prediction is needed at a level."""
        return self.scale != 1.0 and bool(self.low < level.ratio <= self.high)

    def _against_null(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction:
        null = without(cond, self.conditions, self.null)
        if self.scale == 0.0:
            return self.inner(x, level, **null)
        weak, strong = self.inner(torch.cat([x, x]), level, **concatenated([null, cond], len(x))).chunk(2)
        return self.combine(weak, strong)


@dataclass(frozen=True)
class CFG(PairwiseGuidance):
    """Classifier-free guidance: D = D_null + w (D_cond - D_null), in one call of twice the batch.

    Every prediction is x and one linear functional, so the choice of eps, x0 or v does not matter. The w of
    Ho and Salimans is this one minus 1. With a `weak` denoiser: autoguidance, D = D_weak + w (D - D_weak).

    Source: Ho and Salimans 2022, eq. 6, https://arxiv.org/abs/2207.12598; Karras et al. 2024, eq. 3,
    https://arxiv.org/abs/2406.02507
    """

    def combine(self, weak: Prediction, strong: Prediction) -> Prediction:
        return weak.lerp(strong, self.scale)


@dataclass(frozen=True)
class RescaledCFG(PairwiseGuidance):
    """CFG with x0 rescaled to the conditional standard deviation: x0 <- phi x0 std(c) / std(x0) + (1 - phi) x0.

    std is over all dimensions but the batch; applied to x0, so that the network's target does not matter.

    Source: Lin et al. 2023, eqs. 15 and 16, https://arxiv.org/abs/2305.08891

    Args:
        phi: weight of the rescaled x0; the paper uses 0.7.
    """

    natural = ("phi",)

    phi: float = 0.7

    def combine(self, weak: Prediction, strong: Prediction) -> Prediction:
        guided = weak.lerp(strong, self.scale)
        x0 = guided.x0
        factor = strong.x0.flatten(1).std(1) / x0.flatten(1).std(1).clamp(min=1e-12)
        return guided.with_x0(x0 * broadcast_like(self.phi * factor + (1.0 - self.phi), x0))


@dataclass(frozen=True)
class CFGZero(PairwiseGuidance):
    """CFG-Zero*: v = s v_null + w (v_label - s v_null), s = <v_label, v_null> / |v_null|^2.

    v is the flow velocity, eps - x0. Where it is set to 0, x0 = eps and a step along the straight path keeps x.

    Source: Fan et al. 2025, algorithm 1, https://arxiv.org/abs/2503.18886

    Args:
        zero_from: v = 0 for sigma / alpha at or above this; inf is pure noise alone, the first step of a flow.
    """

    natural = ("zero_from",)

    zero_from: float = math.inf

    def combine(self, weak: Prediction, strong: Prediction) -> Prediction:
        a, b = FlowCoordinate().direction(strong.level)
        u, v = weak.mix(a, b), strong.mix(a, b)
        if strong.level.ratio >= self.zero_from:
            guided = torch.zeros_like(v)
        else:
            s = (v * u).flatten(1).sum(1) / u.square().flatten(1).sum(1).clamp(min=1e-12)
            guided = torch.lerp(u * broadcast_like(s, u), v, self.scale)
        return Prediction(strong.x, strong.level, guided, a, b, strong.fraction)


@dataclass(frozen=True)
class CFGPlusPlus(PairwiseGuidance):
    """CFG++: x0 = D_null + w (D_label - D_null) with eps_null: x_s = alpha_s x0 + sigma_s eps_null.

    This x0 and eps do not correspond to the sampler's x, so it is limited to samplers whose `cfg_pp` is true: those
    whose step is published for CFG++. w is the paper's lambda, from 0 to 1; at 1 x0 is conditional and eps is still
    not. Multistep samplers store the unguided prediction.

    Source: Chung et al. 2024, algorithm 2, https://arxiv.org/abs/2406.08070; beyond DDIM the samplers of ComfyUI (code)
    whose names end in _cfg_pp
    """

    scale: float = 0.6

    def acts(self, level: NoiseLevel) -> bool:
        return bool(self.low < level.ratio <= self.high)

    def combine(self, weak: Prediction, strong: Prediction) -> Prediction:
        return Renoised(weak, torch.lerp(weak.x0, strong.x0, self.scale), strong.fraction)


def check_cfg_pp(denoise: Denoise, sampler: Sampler) -> None:
    """Raise ValueError for CFG++ with a sampler whose step assumes that x0 and eps correspond to one x."""
    while isinstance(denoise, Guidance):
        if isinstance(denoise, CFGPlusPlus) and not sampler.cfg_pp:
            raise ValueError(
                "guidance by CFGPlusPlus is published for sampler=ddim, euler_ancestral, dpmpp_2m, dpmpp_2s_ancestral, "
                f"res_multistep and gradient_estimation alone, and the sampler is {sampler}. Use one of these, or "
                "guidance=cfg."
            )
        denoise = denoise.inner


@dataclass(frozen=True)
class APG(PairwiseGuidance):
    """Adaptive projected guidance: x0 = c + (w - 1) (orthogonal + eta parallel), of d = c - u against c.

    First d <- d + momentum d_previous, then d is rescaled to at most `norm`. eta < 1 reduces the component along c,
    which causes saturation; eta = 1 without momentum and norm is CFG.

    Source: Sadat et al. 2024, algorithm 1, https://arxiv.org/abs/2410.02416

    Args:
        eta: weight of the component along c.
        norm: upper bound of the norm of d per example.
        momentum: weight of the previous d; negative values repel from it.
    """

    positive = ("norm",)

    eta: float = 0.0
    norm: float = math.inf
    momentum: float = -0.5
    past: list[Tensor] | None = field(
        default=None, kw_only=True, repr=False, compare=False
    )  # a list during a trajectory

    def begin(self) -> Denoise:
        return replace(self, inner=self._wrapped().begin(), weak=self.weak and self.weak.begin(), past=[])

    def combine(self, weak: Prediction, strong: Prediction) -> Prediction:
        d = strong.x0 - weak.x0
        if self.past is not None:
            self.past[:] = [d + self.momentum * self.past[0] if self.past else d]
            d = self.past[0]
        return self.project(strong, d)

    def project(self, strong: Prediction, d: Tensor) -> Prediction:
        c = strong.x0
        if self.norm < math.inf:
            d = d * broadcast_like((self.norm / d.flatten(1).norm(dim=1)).clamp(max=1.0), d)
        direction = functional.normalize(c.flatten(1), dim=1).reshape_as(c)
        parallel = direction * broadcast_like((d * direction).flatten(1).sum(1), d)
        return strong.with_x0(c + (self.scale - 1.0) * (d - parallel + self.eta * parallel))
