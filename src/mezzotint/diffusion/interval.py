"""The interval between two levels, the second time of a network that predicts an average velocity."""

import torch
from torch import Tensor

from .levels import NoiseLevel
from .scalar_ops import Number

INTERVAL = "interval"  # the network's input by name: t - r in flow time, from 0 to 1


def flow_time(level: NoiseLevel) -> Number:
    """Return u = sigma / (alpha + sigma), from 0 at clean data to 1 at pure noise, the time of the straight path."""
    return level.sigma / (level.alpha + level.sigma)


def interval_between(x: Tensor, now: NoiseLevel, next: NoiseLevel) -> Tensor:
    """Return the network's input for a step between two float levels, (B,) float32."""
    return torch.full((len(x),), float(flow_time(now) - flow_time(next)), device=x.device)
