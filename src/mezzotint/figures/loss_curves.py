"""Loss curves of runs as matplotlib Figures, from their logs."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mezzotint.diffusion import Schedule, TimeDistribution, UniformTimes
from mezzotint.figures.plots import legend, levels, page, style, titles
from mezzotint.runs import RunDir

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_loss(*runs: str | Path) -> "Figure":
    """Plot losses by images seen: training and validation of one run; validation, if any, of several."""
    figure, (axis,) = page(1, 1, "images seen")
    known = names(runs)
    held_out = []
    for i, run in enumerate(runs):
        lines = read_metrics(run)
        validated = [line for line in lines if "validation" in line]
        trained = [line for line in lines if "loss" in line]
        held_out.append(bool(validated))
        if len(runs) == 1 or not validated:
            label = "training" if len(runs) == 1 else f"{known[i]}, training"
            axis.plot([v["images"] for v in trained], [v["loss"] for v in trained], label=label, **style(i))
        if validated:
            losses = [line["validation"]["loss"] for line in validated]
            label, look = ("validation", style(1)) if len(runs) == 1 else (known[i], style(i))
            axis.plot([v["images"] for v in validated], losses, marker="o", markersize=4, label=label, **look)
    axis.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    titles([axis], known[0] if len(runs) == 1 else "several runs")
    axis.set_ylabel("validation loss" if len(runs) > 1 and all(held_out) else "loss")
    logarithmic(axis)
    return legend(figure, axis)


def plot_loss_by_level(
    run: str | Path, schedule: Schedule | None = None, times: TimeDistribution | None = None
) -> "Figure":
    """Plot the validation loss in equal fractions of the training times; later in the run is darker.

    Args:
        schedule: the run's, such as `mezzotint.load(run).schedule`, for an axis of log-SNR; else fractions are
            numbered.
        times: the run's time distribution, by default uniform.

    Raises:
        ValueError: the run has not been validated.
    """
    import matplotlib

    looks = [line for line in read_metrics(run) if "validation" in line]
    if not looks:
        raise ValueError(f"{run} holds no validation yet. Train further, or with callbacks=default, which validates.")
    figure, (axis,) = page(1, 1, "log-SNR" if schedule else "share of the training times, cleanest first")
    for i, line in enumerate(looks):
        shares = [value for name, value in line["validation"].items() if name.startswith("share_")]
        x = middles(len(shares), schedule, times or UniformTimes()) if schedule else range(len(shares))
        shade = matplotlib.colormaps["cividis_r"]((i + 1) / len(looks))
        label = f"{line['images']:,} images" if i in (0, len(looks) - 1) else None
        axis.plot(x, shares, marker="o", markersize=4, color=shade, label=label)
    titles([axis], f"{names([run])[0]}: by noise level")
    axis.set_ylabel("validation loss")
    logarithmic(axis)
    return legend(figure, axis)


def middles(shares: int, schedule: Schedule, times: TimeDistribution) -> list[float]:
    """Return log-SNR in the middle of each equal fraction of the training times, cleanest first."""
    u = (torch.arange(shares, dtype=torch.float64) + 0.5) / shares
    return torch.as_tensor(levels(schedule, times.at(u, schedule)).log_snr).tolist()


def read_metrics(run: str | Path) -> list[dict[str, Any]]:
    """Return the complete lines of a run's metrics. Raises ValueError: the directory has none."""
    files = RunDir(Path(run))
    if not os.path.lexists(files.metrics_file):
        raise ValueError(f"{run} has no {files.metrics_file.name}: give the directory of a run that has been trained.")
    return files.metrics()


def logarithmic(axis: "Axes") -> None:
    """Set a logarithmic scale with plain numbers, for values that often stay within one decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0), numticks=12))
    axis.yaxis.set_minor_locator(LogLocator(subs=tuple(range(1, 10)), numticks=12))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axis.yaxis.set_minor_formatter(FuncFormatter(lambda y, _: ""))


def names(runs: Sequence[str | Path]) -> list[str]:
    """Return the shortest unique path suffix of each run."""
    parts = [Path(run).resolve().parts for run in runs]
    length = next((n for n in range(1, 9) if len({part[-n:] for part in parts}) == len(parts)), 1)
    return ["/".join(part[-length:]) for part in parts]
