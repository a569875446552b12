"""Summary of a sweep of evaluations: a table and a plot of quality against network calls, one line per sampler."""

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path

from mezzotint.app.results.evaluations import Result, alike, columns, gathered, read, read_folder
from mezzotint.app.terminal import display_path, table
from mezzotint.atomic import atomic_path, write_text
from mezzotint.figures.pareto import Panel, Point, pareto, plot_quality

PANELS = 6  # measures in one plot, at most


def summarise(files: Sequence[Path]) -> list[Path]:
    """Write tables and plots of all evaluations of a sweep, one of each per protocol.

    They include all evaluations of the run with the same protocol and training step.
    """
    written: list[Path] = []
    for made in alike(read(file) for file in files):
        folder = made[0].path.parent
        steps = {one.made.get("step") for one in made}
        fitting = [one for one in [*read_folder(folder), *made] if one.made.get("step") in steps]
        group = next(group for group in alike([*made, *fitting]) if made[0] in group)
        name = f"sweep-n{made[0].made['n']}-{mark(made)}"
        written += write_all(folder / name, ordered(gathered(group)))
    return written


def mark(made: Sequence[Result]) -> str:
    """Return a six-digit hash of the protocol and the training steps."""
    protocol = {key: value for one in made for key, value in one.protocol.items()}
    steps = sorted({str(one.made.get("step")) for one in made})
    return hashlib.sha256(json.dumps([protocol, steps], sort_keys=True, default=str).encode()).hexdigest()[:6]


def ordered(results: Sequence[Result]) -> list[Result]:
    """Sort the results by line and then by network calls."""
    keys = columns(results)
    return sorted(results, key=lambda one: (line(one, keys), one.calls))


def line(result: Result, keys: Sequence[str]) -> str:
    """Return the label of a result's line: everything that differs except the steps."""
    keys_shown = dict.fromkeys(["sampler", *keys])
    return ", ".join(result.subject[key] for key in keys_shown if key != "steps" and result.subject.get(key))


def write_all(stem: Path, results: Sequence[Result]) -> list[Path]:
    """Write the table as Markdown and CSV and the plot as PNG and SVG, and print the table."""
    names = list(dict.fromkeys(name for result in results for name in result.names))
    if not names:
        return []
    front = front_of(results, names[0])
    head, rows = cells(results, names, front)
    table(rows, head)
    files = [stem.with_name(f"{stem.name}.{ending}") for ending in ("md", "csv", "png", "svg")]
    pictures = files[2:] if draw(files[2:], results, names) else []
    write_text(files[0], markdown(results, head, rows, pictures[:1]))
    write_text(files[1], comma_separated(results, names, front))
    print(f"table: {', '.join(map(display_path, files[:2]))}")
    if pictures:
        print(f"plot: {', '.join(map(display_path, pictures))}")
    return [*files[:2], *pictures]


def front_of(results: Sequence[Result], name: str) -> set[int]:
    """Return the indices of the Pareto-optimal results in network calls and this value."""
    having = [i for i, one in enumerate(results) if name in one.evaluation.values and one.calls]
    points = {Point(results[i].calls, results[i].evaluation.values[name]): i for i in having}
    best = pareto(points, any(result.higher_is_better(name) for result in results))
    return {points[point] for point in best}


def cells(results: Sequence[Result], names: Sequence[str], front: set[int]) -> tuple[list[str], list[list[str]]]:
    keys_shown = list(dict.fromkeys(["sampler", *columns(results)]))
    keys_shown = [key for key in keys_shown if key != "steps"]
    rows = [
        [
            *(result.subject.get(key, "") for key in keys_shown),
            result.subject.get("steps", ""),
            f"{result.calls:g}",
            *(result.evaluation.shown(name) if name in result.evaluation.values else "" for name in names),
            "*" if i in front else "",
        ]
        for i, result in enumerate(results)
    ]
    return [*keys_shown, "steps", "calls", *names, "front"], rows


def markdown(results: Sequence[Result], head: Sequence[str], rows: Sequence[Sequence[str]], plots: list[Path]) -> str:
    made = results[0].made
    real = made["reference"]
    extractors = ", ".join(f"{one['name']} ({one['sha256'][:12]})" for one in made.get("extractors", ()))
    about = [
        f"{made['n']:,} samples a point against {real['count']:,} real ones (sha256 {real['sha256'][:12]}); "
        f"extractor {extractors or 'none'}; run {made.get('run')}, step {made.get('step')}.",
        "Calls are network calls a sample, as counted. A star marks the Pareto front of the first value.",
        *(f"{name} is {value:.4g}{compared(results, name)}." for name, value in marks(results).items()),
    ]
    lines = [
        "# Quality by network calls",
        "",
        *about,
        "",
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(row)} |" for row in rows),
        *(line for plot in plots for line in ("", f"![quality by network calls]({plot.name})")),
        "",
    ]
    return "\n".join(lines)


def comma_separated(results: Sequence[Result], names: Sequence[str], front: set[int]) -> str:
    keys = list(dict.fromkeys(key for result in results for key in result.subject))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*keys, "calls", *(part for name in names for part in (name, f"{name}_error")), "seeds", "front"])
    for i, result in enumerate(results):
        values = result.evaluation.values
        errors = {name: result.evaluation.error(name) for name in names if name in values}
        pairs = [(values.get(name, ""), error.size if (error := errors.get(name)) else "") for name in names]
        seeds = len(result.made.get("each", (None,)))
        keys_shown = [result.subject.get(key, "") for key in keys]
        writer.writerow([*keys_shown, result.calls, *(part for pair in pairs for part in pair), seeds, int(i in front)])
    return text.getvalue()


def marks(results: Sequence[Result]) -> dict[str, float]:
    return {name: value for result in results for name, value in result.marks.items()}


def compared(results: Sequence[Result], name: str) -> str:
    """Return the compared sets in parentheses, for values whose name does not imply them."""
    said = next((said for result in results if (said := result.evaluation.compared(name))), "")
    return said and f" ({said})"


def draw(files: Sequence[Path], results: Sequence[Result], names: Sequence[str]) -> bool:
    """Return the plot, or None if no result has network calls, as for likelihoods alone."""
    panels = [panel for name in names[:PANELS] if (panel := panel_of(results, name, first=name == names[0])).lines]
    if not panels:
        return False
    figure = plot_quality(panels)
    for file in files:
        with atomic_path(file) as part:
            figure.savefig(part, dpi=160)
    return True


def panel_of(results: Sequence[Result], name: str, first: bool) -> Panel:
    keys = columns(results)
    lines: dict[str, list[Point]] = {}
    for result in results:
        if name in result.evaluation.values and result.calls:
            error = result.evaluation.error(name)
            point = Point(result.calls, result.evaluation.values[name], error.size if error else 0.0)
            lines.setdefault(line(result, keys), []).append(point)
    higher = any(result.higher_is_better(name) for result in results)
    named = {f"{mark}{compared(results, mark)}": value for mark, value in marks(results).items()}
    return Panel(name, lines, higher, named if first else None)
