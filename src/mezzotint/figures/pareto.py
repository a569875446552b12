"""Plots of sample quality against network calls, with error bars and the Pareto front."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mezzotint.figures.plots import legend, page, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "osD^vP*X"  # 8 markers and 7 colours give 56 distinct lines
DECADE = 10.0  # ratio of the highest to the lowest value above which the axis is logarithmic


@dataclass(frozen=True)
class Point:
    """A value, the network calls per image that it took, and its standard deviation if known."""

    calls: float
    value: float
    error: float = 0.0


@dataclass(frozen=True)
class Panel:
    """One measure of quality.

    Args:
        title: its name.
        lines: the points of each sampler.
        higher_is_better: True for precision and recall, False for distances.
        marks: baselines by name, drawn as horizontal lines.
    """

    title: str
    lines: Mapping[str, Sequence[Point]]
    higher_is_better: bool = False
    marks: Mapping[str, float] | None = None


def pareto(points: Iterable[Point], higher_is_better: bool = False) -> list[Point]:
    """Return the points that no other point beats in both calls and value, in order of calls."""
    sign = -1.0 if higher_is_better else 1.0
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.calls, sign * p.value)):
        if not front or sign * point.value < sign * front[-1].value:
            front.append(point)
    return front


def plot_quality(panels: Sequence[Panel]) -> "Figure":
    """Plot each panel's values by network calls, one line per sampler; points on the Pareto front are circled.

    Raises:
        ValueError: there are no points.
    """
    if not any(points for panel in panels for points in panel.lines.values()):
        raise ValueError("there are no points to plot: give panels with values and network calls.")
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = page(rows, columns, height=3.9 * rows)
    for axis in axes[len(panels) :]:
        axis.remove()
    for panel, axis in zip(panels, axes, strict=False):
        draw(axis, panel)
    return legend(figure, axes[0])


def draw(axis: "Axes", panel: Panel) -> None:
    for i, (name, points) in enumerate(panel.lines.items()):
        ordered = sorted(points, key=lambda point: point.calls)
        look = style(i) | {"marker": MARKERS[i % len(MARKERS)], "markersize": 6, "zorder": 3}
        errors = [point.error for point in ordered]
        axis.errorbar(
            [point.calls for point in ordered],
            [point.value for point in ordered],
            yerr=errors if any(errors) else None,
            capsize=3,
            elinewidth=1.0,
            label=name,
            **look,
        )
    every = [point for points in panel.lines.values() for point in points]
    front = pareto(every, panel.higher_is_better)
    ring = {"facecolors": "none", "edgecolors": "0.35", "s": 150, "linewidths": 1.3, "zorder": 2}
    axis.scatter([point.calls for point in front], [point.value for point in front], label="Pareto front", **ring)
    for i, (name, value) in enumerate((panel.marks or {}).items()):
        axis.axhline(value, color="0.5", linestyle=(0, (1, 2 + i)), linewidth=1.2, label=name, zorder=1)
    axis.set_title(f"{panel.title} ({'higher' if panel.higher_is_better else 'lower'} is better)", fontsize="medium")
    scale(axis, every, list((panel.marks or {}).values()))


def scale(axis: "Axes", points: Sequence[Point], marks: Sequence[float]) -> None:
    """Set a logarithmic axis of calls with ticks at their values, and one of values that span more than a decade."""
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    axis.set(xscale="log", xlabel="network calls a sample", xticks=spread([point.calls for point in points]))
    axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.minorticks_off()
    values = [point.value for point in points] + list(marks)
    if min(values) > 0 and max(values) > DECADE * min(values):
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        plain = ScalarFormatter()
        plain.set_scientific(False)
        axis.yaxis.set_major_formatter(plain)
        axis.yaxis.set_minor_formatter(NullFormatter())


def spread(calls: Sequence[float], apart: float = 1.25) -> list[float]:
    """Return those of these numbers whose tick labels do not overlap on a logarithmic axis, most frequent first."""
    kept: list[float] = []
    for value, _ in sorted(Counter(calls).items(), key=lambda pair: (-pair[1], pair[0])):
        if all(max(value, other) >= apart * min(value, other) for other in kept):
            kept.append(value)
    return sorted(kept)
