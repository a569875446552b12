"""Measure samplers on a case with a known answer: `python scripts/sampler_table.py [NAME ...]` writes docs/samplers.md.

With names of configs/sampler only these are measured, and the other rows stay as they are.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path

import torch
import yaml
from torch import Tensor

from mezzotint.diffusion import EDMSchedule, Karras, NoiseLevel, Prediction, Schedule, exact_gaussian, integrate
from mezzotint.diffusion.grids.spacings import Grid
from mezzotint.diffusion.samplers import Sampler, WarmStarted
from mezzotint.instantiate.build import build

ROOT = Path(__file__).parents[1]
MEANS, STDS, WEIGHTS = (-0.8, 0.6), (0.35, 0.5), (0.4, 0.6)


UNMEASURED = ("lcm", "mean_flow")  # for consistency models and mean flows, whose networks predict something else


def configured() -> dict[str, Sampler]:
    """Every sampler of configs/sampler as it stands there."""
    files = sorted((ROOT / "configs" / "sampler").glob("*.yaml"))
    return {file.stem: build(yaml.safe_load(file.read_text())) for file in files}


def catalogue() -> dict[str, Sampler]:
    """Every sampler of configs/sampler, with every number of points that it takes and that has no name of its own."""
    named = {name: sampler for name, sampler in configured().items() if name not in UNMEASURED}
    found: dict[str, Sampler] = {}
    for name, sampler in named.items():
        for variant in variants(sampler):
            if variant == sampler:
                found[name] = sampler
            elif variant not in (*named.values(), *found.values()):
                found[f"{name} points={variant.points}"] = variant
    return found


def variants(sampler: Sampler) -> Iterable[Sampler]:
    if "points" not in {field.name for field in fields(sampler)}:
        yield sampler
        return
    for points in range(1, 5):
        try:
            yield replace(sampler, points=points)
        except ValueError:
            return


class Mixture:
    """The exact denoiser of the mixture, x (B, 1): written again for one dimension, apart from mezzotint's own."""

    means, stds, log_weights = (torch.tensor(v, dtype=torch.float64) for v in (MEANS, STDS, [*map(math.log, WEIGHTS)]))

    def __init__(self, schedule: Schedule):
        self.schedule = schedule

    def begin(self) -> Mixture:
        return self

    def __call__(self, x: Tensor, level: NoiseLevel) -> Prediction:
        """v of the variance-preserving frame, which is regular from clean to pure noise."""
        alpha, sigma, norm = level.alpha, level.sigma, level.norm
        variance = (alpha * self.stds) ** 2 + sigma**2
        d = x - alpha * self.means
        probability = (self.log_weights - 0.5 * (d * d / variance + variance.log())).softmax(1)
        slope = alpha * sigma * (1.0 - self.stds**2) / (norm * variance)
        value = probability * (d * slope - sigma / norm * self.means)
        return Prediction(x, level, value.sum(1, keepdim=True).to(x), -sigma / norm, alpha / norm)


def quantiles(level: NoiseLevel, p: Tensor) -> Tensor:
    """x with P(x_t < x) = p for the mixture's noisy marginal, by bisection.

    On the line the probability-flow ODE keeps the order of points, so its solutions are these at constant p.
    """
    high = torch.full_like(p, 99.0 * (level.alpha + level.sigma))
    low = -high
    for _ in range(100):
        x = (low + high) / 2
        below = _distribution(level, x) < p
        low, high = torch.where(below, x, low), torch.where(below, high, x)
    return x


def _distribution(level: NoiseLevel, x: Tensor) -> Tensor:
    total = torch.zeros_like(x)
    for w, m, s in zip(WEIGHTS, MEANS, STDS, strict=True):
        total += w * torch.special.ndtr((x - level.alpha * m) / math.hypot(level.alpha * s, level.sigma))
    return total


def error(sampler: Sampler, schedule: Schedule, grid: Grid) -> float:
    """Root mean square error at the end of the grid, in the data's units."""
    p = (torch.arange(16, dtype=torch.float64) + 0.5) / 16
    x = integrate(Mixture(schedule), sampler, grid, quantiles(grid[0], p)[:, None])[:, 0]
    return float((x - quantiles(grid[-1], p)).square().mean().sqrt() / grid[-1].alpha)


def slope(errors: Sequence[float], counts: Sequence[int]) -> float:
    """Order of convergence: least squares of log error on log step count."""
    e, n = (torch.tensor(v, dtype=torch.float64).log() for v in (errors, counts))
    n = n - n.mean()
    return -float((n * (e - e.mean())).sum() / (n * n).sum())


def geometric(steps: int, first: float = 300.0, last: float = 0.1) -> Grid:
    """sigma / alpha in a geometric series, in the variance-exploding frame."""
    return tuple(NoiseLevel(1.0, first * (last / first) ** (i / steps)) for i in range(steps + 1))


# --------------------------------------------------------------------------------------------------------- the table

HEAD = """# Samplers

All samplers in `configs/sampler` except `lcm` and `mean_flow` (for networks trained for [few steps](few_steps.md)),
measured on a one-dimensional mixture of two Gaussians whose exact solution is known. Names from k-diffusion and ComfyUI
mean the same sampler, except `heun`, which integrates along the straight path; theirs is `heun_edm`. Their names ending
in `_cfg_pp` are the sampler without that suffix with `guidance=cfg_pp`; `euler_cfg_pp` is `ddim` with it. `dpm_fast`
and `dpm_adaptive`, whose steps depend on the number of calls and on an error estimate, are not included; their step is
`dpm_solver_3s`. `python scripts/sampler_table.py` writes this page; a test compares it with the code.

- declared: order of the error at the end of the probability-flow ODE; for stochastic samplers, in parentheses, of the
  error of mean and variance
- measured: slope between 128 and 512 steps, with sigma / alpha in a geometric series from 300 to 0.1
- half-way: the same for sigma / alpha from 1 to 0.1, as in editing, inversion (upwards) and the loops of a restart; on
  a grid that starts below sigma / alpha = 10, multistep samplers of order 3 and 4 take their first step by a one-step
  method
- calls: of the network per step; the step to clean data may need fewer, the first step of multistep samplers one or two
  more
- from noise: the order that remains on a grid that starts at alpha = 0, uniform in time
- 10, 20, 40 calls: root mean square error in units of the data (standard deviation 0.83) on Karras's grid from sigma =
  80 to 0.002 and then clean, with as many steps as the calls allow; for stochastic samplers the relative error of the
  standard deviation on a Gaussian of standard deviation 0.4 (edm inflates it by design and langevin is biased: neither
  vanishes with more steps)

| sampler | object | declared | measured | half-way | calls | from noise | 10 calls | 20 calls | 40 calls |
|---|---|---|---|---|---|---|---|---|---|
"""


def page(names: Sequence[str] = (), kept: str = "") -> str:
    """Return the page; where names are given, rows of other samplers are taken from the page `kept`."""
    known = {line.split(" | ")[0].removeprefix("| "): line for line in kept.splitlines() if line.startswith("| ")}
    lines = []
    for name, sampler in catalogue().items():
        if name in known and name.split()[0] not in names:
            lines.append(known[name])
            continue
        measured = [f"{measured_order(sampler, first):.1f}" for first in (300.0, 1.0)]
        lines.append("| " + " | ".join(row(name, sampler, measured, errors_at(sampler))) + " |")
    return HEAD + "\n".join(lines) + "\n"


def row(name: str, sampler: Sampler, measured: Sequence[str], errors: Sequence[float]) -> list[str]:
    order = sampler.order or sampler.weak_order
    declared = "none" if order is None else f"{order}" if sampler.order else f"({order})"
    return [
        name,
        f"`{sampler}`",
        declared,
        *measured,
        f"{sampler.calls}",
        str(sampler.order_from_noise or "yes"),
        *map("{:.1e}".format, errors),
    ]


def measured_order(sampler: Sampler, first: float) -> float:
    counts = (128, 256, 512)
    return slope([deviation(sampler, geometric(n, first)) for n in counts], counts)


def errors_at(sampler: Sampler) -> list[float]:
    return [deviation(sampler, within(sampler, calls)) for calls in (10, 20, 40)]


def deviation(sampler: Sampler, grid: Grid) -> float:
    return (error if sampler.order else spread_error)(sampler, EDMSchedule(), grid)


def within(sampler: Sampler, calls: int) -> Grid:
    """Karras's grid with as many steps as the calls allow."""
    extra = (sampler.start.calls - 1) * sampler.steps if isinstance(sampler, WarmStarted) else 0
    return Karras(max((calls - extra) // sampler.calls, 1), 0.002, 80.0)(EDMSchedule())


def spread_error(sampler: Sampler, schedule: Schedule, grid: Grid, std: float = 0.4) -> float:
    """Relative error of the standard deviation that a stochastic sampler would draw, without drawing.

    On Gaussian data every step is affine in x and in the noise, so responses to a unit start and to unit draws give the
    variance exactly: row 0 gets nothing, row 1 the start, row k + 2 draw number k.
    """
    denoise = exact_gaussian(schedule, torch.zeros(1), std)
    draws = Impulses()
    integrate(denoise, sampler, grid, torch.zeros(1, 1, dtype=torch.float64), draws)
    x = torch.zeros(draws.drawn + 2, 1, dtype=torch.float64)
    x[1] = 1.0
    end = integrate(denoise, sampler, grid, x, Impulses())[:, 0]
    response = (end[1:] - end[0]).square()
    start, stop = ((level.alpha * std) ** 2 + level.sigma**2 for level in (grid[0], grid[-1]))
    return abs(math.sqrt(float(response[0] * start + response[1:].sum()) / stop) - 1.0)


class Impulses:
    """Noise whose draw number k is 1 in row k + 2 and 0 elsewhere."""

    def __init__(self):
        self.drawn = 0

    def __call__(self, x: Tensor, now: NoiseLevel, next: NoiseLevel) -> Tensor:
        self.drawn += 1
        draw = torch.zeros_like(x)
        draw[self.drawn + 1 :][:1] = 1.0
        return draw


if __name__ == "__main__":
    out = ROOT / "docs" / "samplers.md"
    names = sys.argv[1:]
    out.write_text(page(names, out.read_text() if names else ""))
    sys.stdout.write(f"wrote {out}\n")
