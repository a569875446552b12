"""Evaluations of a run: values, errors and protocol."""

import hashlib
import json
from pathlib import Path
from typing import Any

from mezzotint.plain_data import as_dict
from mezzotint.reading import Damaged
from mezzotint.report.curves import number
from mezzotint.report.summary import Node, flat, say
from mezzotint.runs import RunDir, formats

APART = ("run", "seeds", "date", "seconds", "versions", "each")  # keys that do not make protocols differ
# for protocols that do not record it
HIGHER = ("is_", "score_", "precision_", "recall_", "density_", "coverage_")
BAR = "_std"  # fd_digits_1000_std is the error bar of fd_digits_1000


def read_evaluations(directory: Path, group: int) -> tuple[list[tuple[Node, dict[str, str]]], int]:
    """Return the evaluations with their protocols, oldest first, and the number of files that cannot be read."""
    found, broken = [], 0
    for file in sorted(RunDir(directory).evaluation.glob("*.json")):
        try:
            found.append(evaluation(formats.evaluation(file, directory), file.stem, group))
        except (FileNotFoundError, Damaged):
            broken += 1
    found.sort(key=lambda pair: (pair[0]["date"], pair[0]["name"]))
    return found, broken


def evaluation(content: Node, name: str, group: int) -> tuple[Node, dict[str, str]]:
    values, protocol = content["values"], content["protocol"]
    bars = {key.removesuffix(BAR): value for key, value in values.items() if key.endswith(BAR)}
    errors = bars | (content.get("errors") or {})
    same = {key: value for key, value in protocol.items() if key not in APART}
    grid = protocol.get("grid") or {}
    row = {
        "name": name,
        "values": {key: number(value) for key, value in values.items()},
        "errors": {key: number(value) for key, value in errors.items() if key in values},
        "notes": [str(note) for note in content.get("notes") or ()],
        "sampler": say(protocol.get("sampler")),
        "grid": say(grid, without=("steps",)),
        "steps": number(grid.get("steps")),
        "guidance": say(protocol.get("guidance")).replace("unguided", "none"),
        "weights": str(protocol.get("weights", "")),
        "n": number(protocol.get("n")),
        "many": len(protocol.get("each") or [0]),
        "higher": higher_is_better(protocol),
        "compared": compared(protocol),
        "calls": number(protocol.get("calls")),
        "images": number(protocol.get("images")),
        "date": str(protocol.get("date", "")),
        "key": hashlib.sha256(json.dumps([group, same], sort_keys=True).encode()).hexdigest()[:12],
    }
    return row, flat(protocol)


def higher_is_better(protocol: Node) -> list[str]:
    """Return the names of the values for which higher is better, according to the protocol."""
    described = as_dict(protocol.get("metrics")).values()
    return [name for of in described if of.get("higher_is_better") for name in of.get("values") or ()]


def compared(protocol: Node) -> dict[str, str]:
    """Return a description of the compared sets for each value whose name does not imply it."""
    described = as_dict(protocol.get("metrics")).values()
    return {name: of["compared"] for of in described if of.get("compared") for name in of.get("values") or ()}


def metric_names(evaluations: list[Node]) -> list[dict[str, Any]]:
    """Return each reported name once, in order, with its direction and the compared sets if all evaluations agree.

    Standard errors are not listed; they belong to their values.
    """
    names = dict.fromkeys(name for one in evaluations for name in one["values"])
    higher = {name for one in evaluations for name in one["higher"]}
    sets = {name: {one["compared"].get(name, "") for one in evaluations if name in one["values"]} for name in names}
    return [
        {
            "name": name,
            "higher": name in higher or name.startswith(HIGHER),
            "compared": sets[name].pop() if len(sets[name]) == 1 else "",
        }
        for name in names
        if not (name.endswith(BAR) and name.removesuffix(BAR) in names)
    ]
