"""Curves of a run from the run's metrics, thinned to a limited number of points."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mezzotint.plain_data import as_dict, lookup
from mezzotint.plain_data import number as finite_number
from mezzotint.reading import Damaged
from mezzotint.runs import RunDir

Line = dict[str, Any]
CURVES = {"loss": ("loss",), "grad_norm": ("grad_norm",), "lr": ("lr",), "rate": ("time", "images_per_second")}


def logged(directory: Path) -> list[Line]:
    """Return the complete lines of the run's metrics, oldest first; an empty list if they cannot be read."""
    try:
        return RunDir(directory).metrics()
    except Damaged:
        return []


def curves(lines: Sequence[Line], points: int) -> dict[str, Any]:
    """Return each curve as {"x": images, "y": values, "of": points before thinning}, and the loss by noise level."""
    found = {name: curve(lines, path, points) for name, path in CURVES.items()}
    found["validation"] = curve(lines, ("validation", "loss"), points)
    validated = thin([line for line in lines if as_dict(line.get("validation"))], max(2, points // 8))
    metric = next((name for line in lines for name in line.get("sample_metrics") or ()), "")
    found["sample_metrics"] = curve(lines, ("sample_metrics", metric), points) | {"name": metric}
    shares = [share_losses(line["validation"]) for line in validated]
    if any(shares):
        found["levels"] = {"x": [line["images"] for line in validated], "y": shares}
    return {name: value for name, value in found.items() if value["x"]}


def curve(lines: Sequence[Line], path: Sequence[str], points: int) -> dict[str, Any]:
    pairs = [(line["images"], at(line, path)) for line in lines]
    finite = [(x, y) for x, y in pairs if y is not None]
    kept = decimate(finite, points)
    return {"x": [x for x, _ in kept], "y": [y for _, y in kept], "of": len(finite)}


def decimate(pairs: Sequence[tuple[int, float]], points: int) -> list[tuple[int, float]]:
    """Return at most `points` points: both ends, and the minimum and maximum of each interval, which keeps spikes."""
    if len(pairs) <= max(points, 4):
        return list(pairs)
    intervals = max(1, (points - 2) // 2)
    inner = pairs[1:-1]
    kept = [0, len(pairs) - 1]
    for i in range(intervals):
        start, stop = i * len(inner) // intervals, (i + 1) * len(inner) // intervals
        if start < stop:
            order = sorted(range(start, stop), key=lambda k: inner[k][1])
            kept += [order[0] + 1, order[-1] + 1]
    return [pairs[i] for i in sorted(set(kept))]


def thin(items: Sequence[Any], count: int) -> list[Any]:
    """Return at most `count` items, evenly spread, including the first and the last."""
    if len(items) <= count:
        return list(items)
    if count < 2:
        return list(items[-count:]) if count else []
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def share_losses(validation: Line) -> list[float | None]:
    return [number(value) for name, value in validation.items() if name.startswith("share_")]


def at(line: Line, path: Sequence[str]) -> float | None:
    return number(lookup(line, *path))


def number(value: Any) -> Any:
    """Return a finite number, a float rounded to five digits, and None for anything else."""
    found = finite_number(value)
    return float(f"{found:.5g}") if isinstance(found, float) else found
