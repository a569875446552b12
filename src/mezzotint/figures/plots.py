"""Plots of schedules, grids, time distributions and loss weights as matplotlib Figures, colour-blind safe.

Each function takes parts by name and returns a Figure without using pyplot; `figure.savefig("x.svg")` writes PNG, SVG
or PDF by the suffix. In a notebook, `%matplotlib inline` once makes them appear.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mezzotint.diffusion import (
    Epsilon,
    LossWeight,
    NoiseLevel,
    SampledTimes,
    Schedule,
    Spacing,
    Target,
    TimeDistribution,
    UniformTimes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito 2008, https://jfly.uni-koeln.de/color/, without yellow, which is illegible on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#000000")
DASHES = ("-", "--", ":", "-.")
SEEN = 20.0  # log-SNR: the range that is plotted


def plot_schedules(schedules: Mapping[str, Schedule], points: int = 400) -> "Figure":
    """Plot alpha, sigma, log-SNR and SNR by time, as a fraction of each schedule's range."""
    figure, axes = page(2, 2, "time / last time")
    share = torch.sin(torch.linspace(0.0, torch.pi / 2, points, dtype=torch.float64)) ** 2  # more points at both ends
    top = 0.0
    for i, (name, schedule) in enumerate(schedules.items()):
        level = levels(schedule, share * schedule.t_max)
        log_snr = torch.as_tensor(level.log_snr)
        top = max(top, float(torch.as_tensor(level.sigma).max()))
        for axis, y in zip(axes, (level.alpha, level.sigma, log_snr, log_snr.exp()), strict=True):
            axis.plot(share, y, label=name, **style(i))
    titles(axes, "alpha: signal", "sigma: noise", "log-SNR", "SNR = alpha² / sigma²")
    if top > 2.0:
        axes[1].set(yscale="symlog", ylim=(0, None))
    axes[2].set_ylim(-SEEN, SEEN)
    axes[3].set(yscale="log", ylim=(1e-5, 1e5))
    return legend(figure, axes[0])


def plot_grids(spacings: Mapping[str, Spacing], schedule: Schedule) -> "Figure":
    """Plot the levels that each spacing visits, by time and by log-SNR; the final clean level is at time 0."""
    figure, axes = page(1, 2, height=1.4 + 0.4 * len(spacings))
    for i, spacing in enumerate(spacings.values()):
        grid = spacing(schedule)
        style = {"marker": "|", "markersize": 14, "linestyle": "none", "color": COLOURS[i % len(COLOURS)]}
        axes[0].plot([float(schedule.time(v)) if not v.clean else 0.0 for v in grid], [i] * len(grid), **style)
        seen = [float(v.log_snr) for v in grid if v.alpha and not v.clean]
        axes[1].plot(seen, [i] * len(seen), **style)
    titles(axes, "where the steps lie in time", "and in log-SNR")
    for axis, x in zip(axes, ("time", "log-SNR"), strict=True):
        axis.set(xlabel=x, yticks=range(len(spacings)), yticklabels=list(spacings), ylim=(len(spacings) - 0.4, -0.6))
    axes[0].invert_xaxis()
    axes[1].set_yticklabels([])
    return figure


def plot_times(times: Mapping[str, TimeDistribution], schedule: Schedule, points: int = 2000) -> "Figure":
    """Plot the density of log-SNR in training under each time distribution."""
    figure, (axis,) = page(1, 1, "log-SNR")
    for i, (name, distribution) in enumerate(times.items()):
        log_snr, density, _ = _quantiles(distribution, schedule, points)
        axis.plot(log_snr, density, label=name, **style(i))
    titles([axis], f"density of log-SNR on {type(schedule).__name__}")
    axis.set(xlim=(-SEEN, SEEN), ylim=(0, None))
    return legend(figure, axis)


def plot_weights(
    weights: Mapping[str, LossWeight],
    schedule: Schedule,
    target: Target | None = None,
    times: TimeDistribution | None = None,
    points: int = 2000,
) -> "Figure":
    """Plot the weight on the squared error of v at each level, alone and multiplied by the density of the level.

    v is regular at both ends: the errors of eps and x0 are alpha and sigma times its error. The product is the
    contribution to the mean loss per unit of log-SNR, normalised to a maximum of 1.
    """
    figure, axes = page(1, 2, "log-SNR")
    target, times = target or Epsilon(), times or UniformTimes()
    log_snr, density, drawn = _quantiles(times, schedule, points)
    level = levels(schedule, drawn.t)
    on_v = torch.as_tensor(target.determinant(level) / level.norm**2) ** 2
    for i, (name, weight) in enumerate(weights.items()):
        factor = (torch.as_tensor(weight(level, target, drawn)) * on_v).detach()
        counted = factor * density
        axes[0].plot(log_snr, factor, label=name, **style(i))
        axes[1].plot(log_snr, counted / counted[counted.isfinite()].max(), **style(i))
    titles(axes, "weight on the error of v", "times the density, largest 1")
    axes[0].set(yscale="log", xlim=(-SEEN, SEEN))
    axes[1].set(xlim=(-SEEN, SEEN), ylim=(0, None))
    return legend(figure, axes[0])


def levels(schedule: Schedule, t: Tensor) -> NoiseLevel:
    """Return the levels at these times, as tensors without gradients."""
    with torch.no_grad():
        level = schedule.level(t)
    return NoiseLevel(torch.as_tensor(level.alpha), torch.as_tensor(level.sigma))


def _quantiles(times: TimeDistribution, schedule: Schedule, points: int) -> tuple[Tensor, Tensor, SampledTimes]:
    """Return evenly spaced quantiles of a distribution: log-SNR, its density there, and the sampled times."""
    u = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    drawn = SampledTimes(*times(u, schedule), schedule)
    return torch.as_tensor(levels(schedule, drawn.t).log_snr), drawn.log_snr_density().detach(), drawn


def page(rows: int, columns: int, x: str = "", height: float | None = None) -> tuple["Figure", "list[Axes]"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * columns, height or 3.2 * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[-columns:]:
        axis.set_xlabel(x)
    return figure, axes


def style(i: int) -> dict[str, Any]:
    """Return colour and dashes of line i: adjacent lines differ in both, so that the plot is legible in grey."""
    return {"color": COLOURS[i % len(COLOURS)], "linestyle": DASHES[i % len(DASHES)], "linewidth": 1.8}


def titles(axes: Sequence["Axes"], *titles: str) -> None:
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, fontsize="medium")


def legend(figure: "Figure", axis: "Axes") -> "Figure":
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), frameon=False)
    return figure
