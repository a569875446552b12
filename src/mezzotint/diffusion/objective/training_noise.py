"""Training noise: Gaussian, offset, or paired with the data of the batch."""

import abc
from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.finite import Finite
from mezzotint.randomness import KeyedRandom


class TrainingNoise(metaclass=Finite):
    """noise(x0, draws) -> eps, shaped like x0 (B, C, H, W)."""

    @abc.abstractmethod
    def __call__(self, x0: Tensor, draws: KeyedRandom) -> Tensor: ...


@dataclass(frozen=True)
class GaussianNoise(TrainingNoise):
    """Independent standard normal noise; stream "noise"."""

    def __call__(self, x0: Tensor, draws: KeyedRandom) -> Tensor:
        return draws.to(x0.device).normal("noise", x0.shape[1:]).to(x0)


@dataclass(frozen=True)
class OffsetNoise(TrainingNoise):
    """eps + strength z with one z per channel, which lets the network change an image's mean.

    Source: Guttenberg 2023, https://www.crosslabs.org/blog/diffusion-with-offset-noise

    Args:
        strength: standard deviation of the offset.
        noise: the noise it is added to.
    """

    natural = ("strength",)

    strength: float = 0.1
    noise: TrainingNoise = GaussianNoise()

    def __call__(self, x0: Tensor, draws: KeyedRandom) -> Tensor:
        shape = (x0.shape[1], *(1,) * (x0.ndim - 2))
        return self.noise(x0, draws) + self.strength * draws.to(x0.device).normal("offset", shape).to(x0)


@dataclass(frozen=True)
class OTPairedNoise(TrainingNoise):
    """The noise of the batch permuted to minimise sum |x0 - eps|^2: straighter paths for flow matching.

    An example's noise then depends on the batch of its rank. The permutation is found on the CPU, which waits for the
    device once a step.

    Source: Tong et al. 2023, sec. 3.2, https://arxiv.org/abs/2302.00482; Pooladian et al. 2023, https://arxiv.org/abs/2304.14772

    Args:
        noise: the noise to permute.
    """

    noise: TrainingNoise = GaussianNoise()

    def __call__(self, x0: Tensor, draws: KeyedRandom) -> Tensor:
        eps = self.noise(x0, draws)
        cost = torch.cdist(x0.flatten(1).float(), eps.flatten(1).float()).square()
        return eps[assignment(cost).to(eps.device, non_blocking=True)]


def assignment(cost: Tensor) -> Tensor:
    """Return the permutation p that minimises sum_i cost[i, p_i], (n,) int64, by shortest augmenting paths in O(n^3).

    Source: Jonker and Volgenant 1987, https://doi.org/10.1007/BF02278710
    """
    rows = cost.cpu().double().tolist()
    n = len(rows)
    potential_row, potential_column = [0.0] * n, [0.0] * (n + 1)
    owner = [-1] * (n + 1)  # row of each column; paths start at column n
    for row in range(n):
        owner[n], column = row, n
        best, came_from, done = [float("inf")] * n, [n] * n, [False] * (n + 1)
        while owner[column] >= 0:
            done[column] = True
            i, base = owner[column], potential_row[owner[column]]
            nearest, step = -1, float("inf")
            for j in range(n):
                if not done[j]:
                    reduced = rows[i][j] - base - potential_column[j]
                    if reduced < best[j]:
                        best[j], came_from[j] = reduced, column
                    if best[j] < step:
                        nearest, step = j, best[j]
            for j in range(n + 1):
                if done[j]:
                    potential_row[owner[j]] += step
                    potential_column[j] -= step
                elif j < n:
                    best[j] -= step
            column = nearest
        while column != n:
            owner[column] = owner[came_from[column]]
            column = came_from[column]
    order = [0] * n
    for j in range(n):
        order[owner[j]] = j
    return torch.tensor(order, dtype=torch.int64)
