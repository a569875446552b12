"""Other uses of denoiser, sampler and grid: editing, inversion, interpolation, inpainting."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .denoiser import Denoise
from .grids.spacings import Grid
from .guidance import Guidance
from .levels import NoiseLevel
from .prediction import Prediction
from .sample import NoiseSource, integrate
from .samplers import Sampler
from .samplers.base import State
from .samplers.combinators import retakes
from .schedules.continuous import Schedule
from .stability import check_draw, check_spread, settled


def edit(
    denoise: Denoise,
    sampler: Sampler,
    spacing: Callable[[Schedule], Grid],
    image: Tensor,
    eps: Tensor,
    strength: float = 0.5,
    noise: NoiseSource | None = None,
    **cond: Any,
) -> Tensor:
    """SDEdit: the image with noise up to a level, then down the rest of the grid.

    Source: Meng et al. 2021, algorithm 1, https://arxiv.org/abs/2108.01073

    Args:
        image: clean (B, C, H, W).
        eps: unit noise like it.
        strength: share of the grid's steps that are taken, the last ones; 0 gives the image back, 1 forgets it.
    """
    if not 0.0 <= strength <= 1.0:
        raise ValueError(f"strength={strength} is a share of the steps. Give a number from 0 to 1.")
    grid = settled(spacing(denoise.schedule))
    grid = grid[round((1.0 - strength) * (len(grid) - 1)) :]
    x = grid[0].perturb(image, eps)
    if len(grid) == 1:
        return x
    check_draw(sampler, grid, float(grid[0].alpha), float(grid[0].sigma))
    return integrate(denoise, sampler, grid, x, noise, **cond)


def invert(
    denoise: Denoise, sampler: Sampler, spacing: Callable[[Schedule], Grid], image: Tensor, **cond: Any
) -> Tensor:
    """The unit noise from which `sample` draws this image: the ODE backwards, over the grid reversed.

    It begins at the grid's least noisy level, not at 0, where no network can be asked.

    Source: Song et al. 2020, sec. 5.4, https://arxiv.org/abs/2010.02502

    Raises:
        ValueError: the sampler draws noise, `sample` would refuse the grid, or the way back goes astray on it.
    """
    if sampler.order is None:
        raise ValueError(
            f"{sampler} draws noise, and a path that was drawn cannot be walked back. Use eta=0 or an ODE sampler."
        )
    schedule = denoise.schedule
    grid = settled(spacing(schedule))
    check_draw(sampler, grid, 0.0, schedule.prior_std(grid[0]))
    if len(grid) < 3:
        raise ValueError(
            "A grid of one step leads from noise to clean data, where no network can be asked: nothing is left to walk "
            "back. Use 2 steps or more."
        )
    grid = grid[-2::-1]
    check_spread(sampler, grid, float(grid[0].alpha), 0.0)
    x = integrate(denoise, sampler, grid, image * float(grid[0].alpha), **cond)
    return x / schedule.prior_std(grid[-1])


def slerp(a: Tensor, b: Tensor, w: Tensor | float) -> Tensor:
    """sin((1 - w) angle) / sin(angle) a + sin(w angle) / sin(angle) b for each example; unit noise stays unit noise.

    Source: Shoemake 1985, https://doi.org/10.1145/325165.325242; Song et al. 2020, app. D.5

    Args:
        a, b: unit noise (B, ...).
        w: 0 to 1, a number or (B,).
    """
    flat = a.flatten(1).double(), b.flatten(1).double()
    cosine = torch.cosine_similarity(*flat, dim=1).clamp(-1.0, 1.0)
    angle = cosine.acos()
    w = torch.as_tensor(w, dtype=torch.float64, device=a.device).expand_as(angle)
    straight = angle.sin() < 1e-6
    sine = torch.where(straight, 1.0, angle.sin())
    on_a = torch.where(straight, 1.0 - w, ((1.0 - w) * angle).sin() / sine)
    on_b = torch.where(straight, w, (w * angle).sin() / sine)
    shape = (-1, *(1,) * (a.ndim - 1))
    return on_a.reshape(shape).to(a) * a + on_b.reshape(shape).to(a) * b


@dataclass(frozen=True, eq=False)
class InpaintGuidance(Guidance):
    """The prediction's x0 replaced by the known image where that is known; eps follows, so the step stays consistent.

    Source: Lugmayr et al. 2022, sec. 4.1, https://arxiv.org/abs/2201.09865, on x0 instead of x_t

    Args:
        known: clean image (B, C, H, W).
        mask: true where it is known.
    """

    known: Tensor
    mask: Tensor

    def __call__(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction:
        pred = self.inner(x, level, **cond)
        return pred.with_x0(torch.where(self.mask, self.known, pred.x0))


@dataclass(frozen=True, eq=False)
class InpaintReplacement(Sampler):
    """After each step the known part of x is drawn anew from q(x_next | known): inpainting by replacement.

    On a RePaint grid, around Renoised, it is RePaint: Replaced(Renoised(DDPM()), known, mask).

    Source: Lugmayr et al. 2022, eq. 8, https://arxiv.org/abs/2201.09865; Song et al. 2021, app. I.2

    Args:
        sampler: what takes the steps.
        known: clean image (B, C, H, W).
        mask: true where it is known.
    """

    sampler: Sampler
    known: Tensor
    mask: Tensor

    def __post_init__(self) -> None:
        if retakes(self.sampler):
            raise ValueError(f"{self.sampler} takes each step twice, which undoes the replacement. Use another.")

    @property
    def calls(self) -> int | None:  # type: ignore[override]
        return self.sampler.calls

    @property
    def turns(self) -> bool:
        return self.sampler.turns

    @property
    def cfg_pp(self) -> bool:
        return self.sampler.cfg_pp

    def init(self, grid: Grid) -> State:
        return self.sampler.init(grid)

    def step(
        self, denoise: Any, x: Tensor, now: NoiseLevel, next: NoiseLevel, state: State, noise: Any
    ) -> tuple[Tensor, State]:
        x, state = self.sampler.step(denoise, x, now, next, state, noise)
        known = self.known * next.alpha
        if not next.clean:
            known = torch.add(known, noise(x, now, next), alpha=float(next.sigma))
        return torch.where(self.mask, known, x), state
