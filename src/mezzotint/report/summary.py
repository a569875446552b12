"""Summary of a run as JSON values: configuration, progress and objective."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mezzotint.plain_data import as_dict, children
from mezzotint.reading import Damaged
from mezzotint.report.curves import Line, number
from mezzotint.runs import RunDir

Node = dict[str, Any]
NAMED = 12  # maximum number of class names listed
LONG = 4000  # maximum characters of a log or error


@dataclass(frozen=True)
class Entry:
    """A run of the report.

    Args:
        name: display name, distinct from the other runs'.
        state: running, finished, failed, preempted, interrupted or unknown.
        status: content of status.json.
        config: content of config.yaml.
        values: its value for each key in which the runs differ.
        group: runs of the same group differ only in the seed.
    """

    directory: Path
    name: str
    state: str
    status: Node
    config: Node
    values: Sequence[str] = field(default_factory=tuple)
    group: int = 0


def record(entry: Entry, lines: Sequence[Line]) -> Node:
    """Return the state and progress of a run, without curves, images, evaluations and config."""
    last = lines[-1] if lines else {}
    clock = as_dict(last.get("time"))
    status = entry.status
    known_seconds = [number(known.get("seconds")) or 0 for known in (status, clock)]  # status.json lags during training
    seconds = max(known_seconds) or None
    images = max(number(status.get("images")) or 0, number(last.get("images")) or 0)
    budget = number(status.get("budget")) or number(entry.config.get("budget")) or 0
    running = entry.state == "running"
    return {
        "name": entry.name,
        "state": entry.state,
        "error": clip(status.get("error")),
        "log": clip(read_log(entry.directory)),
        "started": clock_time(status.get("started")),
        "ended": None if running else clock_time(status.get("time")),
        "host": status.get("host"),
        "seconds": seconds,
        "left": max(0, budget - images) * seconds / images if running and images and seconds else None,
        "images": images,
        "budget": budget,
        "steps": max(number(status.get("steps")) or 0, number(last.get("step")) or 0),
        "rate": images / seconds if images and seconds else None,
        "objective": number(status.get("objective")),
        "measure": measure(entry),
        "seed": number(entry.config.get("seed")),
        "group": entry.group,
        "values": list(entry.values),
        "plan": plan(entry.config, class_names(entry.directory)),
    }


def measure(entry: Entry) -> Node:
    """Return the name and the direction of the objective."""
    found = RunDir(entry.directory).objective(entry.status) or {}
    return {"name": found.get("name", ""), "higher": bool(found.get("higher_is_better"))}


def class_names(directory: Path) -> list[str]:
    """Return the class names of the run, or an empty list."""
    try:
        return (RunDir(directory).data() or {}).get("classes", [])
    except Damaged:
        return []


def plan(config: Node, names: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Return a readable summary of the config as (title, text) rows; missing parts are left out."""
    budget, batch = number(config.get("budget")), number(config.get("batch_size"))
    steps = f" in {-(-budget // batch):,} steps of {batch:,}" if budget and batch else ""
    data = config.get("data") or {}
    size = " × ".join(map(str, children(data.get("shape"))))
    listed = f" ({', '.join(names[:NAMED])}{', ...' if len(names) > NAMED else ''})" if names else ""
    classes = f", {data['classes']} classes{listed}" if data.get("classes") else ""
    process = [say(config[key]) for key in ("schedule", "target") if config.get(key)]
    sampling = [say(config[key]) for key in ("sampler", "grid", "guidance") if config.get(key)]
    rows = [
        ("data", f"{say(data, without=('shape', 'classes', 'root', 'cache', 'download'))} {size}{classes}".strip()),
        ("network", say(config.get("network"), without=("shape", "classes"))),
        ("process and target", ", ".join(process)),
        (
            "loss",
            ", ".join(say(config[key]) for key in ("time_distribution", "loss_weight", "loss") if config.get(key)),
        ),
        ("training", f"{budget:,} images{steps}" if budget else ""),
        ("optimiser", say(config.get("optimizer"))),
        ("average", say(config.get("ema"))),
        ("sampling", ", ".join(word for word in sampling if word != "unguided")),
        ("metrics", ", ".join(config.get("metrics") or ())),
        ("hardware", say(config.get("hardware"), only=("accelerator", "devices", "nodes", "precision", "strategy"))),
        ("seed", "" if (seed := config.get("seed")) is None else str(seed)),
    ]
    return [(name, text) for name, text in rows if text]


def say(node: Any, without: Sequence[str] = (), only: Sequence[str] = ()) -> str:
    """Format a config node as a call: DDIM(eta=0.0)."""
    if not isinstance(node, dict):
        return "" if node is None else str(node)
    called = str(node.get("_target_", "")).rpartition(".")[2]
    given = {key: value for key, value in node.items() if key != "_target_" and key not in without}
    words = [f"{key}={say(value)}" for key, value in given.items() if value is not None and (not only or key in only)]
    return f"{called}({', '.join(words)})" if words else called


def flat(node: Any, prefix: str = "") -> dict[str, str]:
    """Return every leaf of a config or protocol as text by dotted key; lists are leaves."""
    if as_dict(node):
        return {
            key: text
            for name, value in node.items()
            for key, text in flat(value, f"{prefix}.{name}" if prefix else str(name)).items()
        }
    text = node if isinstance(node, str) else json.dumps(node, default=str)
    return {prefix: clip(text, LONG // 4) or ""}


def changes(base: dict[str, str], other: dict[str, str]) -> dict[str, str | None]:
    """Return the changes from one flat config to another; None removes a key."""
    gone = dict.fromkeys(key for key in base if key not in other)
    return {key: value for key, value in other.items() if base.get(key) != value} | gone


def read_log(directory: Path) -> str:
    return RunDir(directory).log_end(4 * LONG).decode("utf-8", "replace").strip()


def clip(text: Any, most: int = LONG) -> str | None:
    """Return the last `most` characters of a text, where errors state their cause."""
    if text is None or text == "":
        return None
    text = str(text)
    return text if len(text) <= most else f"... {text[-most:]}"


def clock_time(value: Any) -> int | None:
    """Return integer seconds since 1970."""
    return round(value) if number(value) is not None else None


def now() -> int:
    return round(time.time())
