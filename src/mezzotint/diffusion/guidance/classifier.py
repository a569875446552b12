"""Classifier guidance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..levels import NoiseLevel
from ..prediction import Prediction
from .base import Guidance


@dataclass(frozen=True)
class ClassifierGuidance(Guidance):
    """eps <- eps - w sigma grad_x log p(label | x), with a classifier of noisy images.

    The wrapped denoiser is called without the label. Works under no_grad and under inference_mode.

    Source: Dhariwal and Nichol 2021, algorithm 2, https://arxiv.org/abs/2105.05233

    Args:
        classifier: (x, level) -> logits (B, classes), differentiable.
        scale: w.
    """

    classifier: Callable[[Tensor, NoiseLevel], Tensor]
    scale: float = 1.0

    def __call__(self, x: Tensor, level: NoiseLevel, *, label: Tensor | None = None, **cond: Any) -> Prediction:
        if label is None:
            raise ValueError("Classifier guidance needs a label to guide towards. Pass label=, or use guidance=none.")
        pred = self.inner(x, level, **cond)
        with torch.inference_mode(False), torch.enable_grad():
            point = x.detach().clone().requires_grad_()
            log_p = self.classifier(point, level).log_softmax(1)
            (gradient,) = torch.autograd.grad(log_p.gather(1, label[:, None].clone()).sum(), point)
        return pred.with_eps(pred.eps - self.scale * level.sigma * gradient)
