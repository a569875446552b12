"""The consistency function of Gaussian data in closed form."""

import torch
from torch import nn

from mezzotint.diffusion import Denoiser, Flow, KeyedRandom, NoiseLevel, RawTime

MEAN, STD = 0.5, 0.6


def draws(n, start=0, seed=0):
    return KeyedRandom(seed, torch.arange(start, start + n))


def spread(level):
    return ((level.alpha * STD) ** 2 + level.sigma**2) ** 0.5


class Exact(nn.Module):
    """The consistency function of N(MEAN, STD^2) as a network of target flow: MEAN + STD (x - alpha MEAN) / std."""

    def __init__(self, schedule):
        super().__init__()
        self.schedule = schedule
        self.off = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, x, time, **_):
        level = self.schedule.level(time)
        alpha, sigma = (c.reshape(-1, *(1,) * (x.ndim - 1)) for c in (level.alpha, level.sigma))
        end = MEAN + (STD + self.off) * (x - alpha * MEAN) / spread(NoiseLevel(alpha, sigma))
        return (x - (alpha + sigma) * end) / sigma  # eps - x0 with x0 = end


def exact(schedule):
    return Denoiser(Exact(schedule), schedule, Flow(), RawTime())
