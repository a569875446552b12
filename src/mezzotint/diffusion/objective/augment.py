"""Non-leaking augmentation: the network is conditioned on the transformation, and samples are made without one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from mezzotint.finite import Finite
from mezzotint.randomness import KeyedRandom

from ..levels import cast_like


@dataclass(frozen=True)
class GeometricAugmentation(metaclass=Finite):
    """Six random transformations, each with this probability; nine labels describe them, zeros where there is none.

    Flips in x and in y, each with probability 1/2; scaling by 2^(0.2 w); rotation by a uniform angle a; anisotropic
    scaling by 2^(0.2 w) along a uniform direction r and its inverse across; translation by w / 8 of the size in both
    axes, w normal. Labels: flips 0 or 1, w, (cos a - 1, sin a), (w cos r, w sin r), (w, w'). Bilinear interpolation,
    with reflection at the border.

    Source: Karras et al. 2022, app. F.2, https://arxiv.org/abs/2206.00364, after Jun et al. 2020

    Args:
        probability: of each transformation; the paper uses 0.12 to 0.15.
    """

    labels: ClassVar[int] = 9

    probability: float = 0.12

    def __post_init__(self) -> None:
        if not 0.0 <= self.probability <= 1.0:
            raise ValueError(f"probability={self.probability}: give a number from 0 to 1.")

    def __call__(self, x0: Tensor, draws: KeyedRandom) -> tuple[Tensor, Tensor]:
        """Return transformed images (B, C, H, W) and labels (B, 9); stream "augment"."""
        labels, theta = self.sample(draws, x0.shape[2:])
        labels, theta = cast_like(labels, x0), cast_like(theta, x0)
        transformed = functional.grid_sample(
            x0, functional.affine_grid(theta, list(x0.shape), align_corners=False), "bilinear", "reflection", False
        )
        same = (labels == 0).all(1).reshape(-1, 1, 1, 1)
        return torch.where(same, x0, transformed), labels

    def sample(self, draws: KeyedRandom, size: torch.Size) -> tuple[Tensor, Tensor]:
        """Return labels (B, 9) and affine maps (B, 2, 3) from output to input coordinates in [-1, 1]."""
        on = torch.stack([draws.uniform("augment", i) < self.probability for i in range(6)], 1).double()
        u = torch.stack([draws.uniform("augment", i) for i in range(6, 10)], 1)
        w = draws.normal("augment", (4,), 10).double() * on[:, [2, 4, 5, 5]]
        mirror = (u[:, :2] < 0.5) * on[:, :2]
        angle, axis = (2.0 * u[:, 2] - 1.0) * math.pi * on[:, 3], (2.0 * u[:, 3] - 1.0) * math.pi
        scale, stretch = 2.0 ** (-0.2 * w[:, 0]), 2.0 ** (-0.2 * w[:, 1])
        along = rotation(axis) @ torch.diag_embed(torch.stack([stretch, 1.0 / stretch], 1)) @ rotation(-axis)
        linear = rotation(angle) @ along @ torch.diag_embed(scale[:, None] * (1.0 - 2.0 * mirror))
        sides = torch.tensor([size[1], size[0]], dtype=torch.float64)  # in pixels, so that rotations preserve angles
        theta = torch.cat([linear * sides / sides[:, None], 0.25 * w[:, 2:, None]], 2)
        directions = [angle.cos() - 1.0, angle.sin(), w[:, 1] * axis.cos(), w[:, 1] * axis.sin()]
        return torch.cat([mirror, w[:, :1], torch.stack(directions, 1), w[:, 2:]], 1), theta


def rotation(angle: Tensor) -> Tensor:
    """Return rotation matrices, (B, 2, 2)."""
    c, s = angle.cos(), angle.sin()
    return torch.stack([torch.stack([c, -s], 1), torch.stack([s, c], 1)], 1)
