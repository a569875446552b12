"""An evaluation as rows of a table, and the number in it that a sweep minimises."""

from pathlib import Path
from typing import Any

from mezzotint.app.terminal import display_path, table
from mezzotint.metrics import Evaluation


def report(path: Path, found: Evaluation) -> None:
    """Print an evaluation and its file."""
    table(rows(found))
    for note in found.notes:
        print(note)
    print(display_path(path))


def rows(found: Evaluation) -> list[tuple[str, str]]:
    """Return the values, and the samples that they are of, as rows of a table."""
    made, real = found.protocol, found.protocol["reference"]
    values = [(name, f"{found.shown(name)}{of_class(name, made)}") for name in found.results]
    if not made["n"]:
        return values
    place = real.get("split") or display_path(real.get("folder") or real["file"])
    calls = [("network calls", f"{made['calls']:g} a sample")] if "calls" in made else []
    return [*values, ("evaluated", f"{made['n']:,} samples against {real['count']:,} real ones ({place})"), *calls]


def of_class(name: str, made: dict[str, Any]) -> str:
    """The name of the class that a value is of."""
    before, _, label = name.rpartition("_")
    names = made.get("classes") or []
    known = before.endswith("_class") and label.isdecimal() and int(label) < len(names) and names[int(label)] != label
    return f"  ({names[int(label)]})" if known else ""


def objective(found: Evaluation) -> float | None:
    """Return the number that a sweep minimises: the first value."""
    return next(iter(found.values.values()), None)


def measure(found: Evaluation) -> dict[str, Any]:
    """Return the name of that number, and whether higher is better."""
    name = next(iter(found.values), "objective")
    metrics = found.protocol.get("metrics", {}).values()
    return {"name": name, "higher_is_better": any(of["higher_is_better"] for of in metrics if name in of["values"])}
