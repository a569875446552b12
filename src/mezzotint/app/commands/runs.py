"""`mezzotint runs [WORD ...]`: the runs there are, with state, images, age and best result; for people or, as JSON, for
machines. Reads small files alone and imports no torch.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mezzotint.app.results import run_folders
from mezzotint.app.terminal import display_path, one_line, table
from mezzotint.errors import ConfigError
from mezzotint.instantiate.locate import did_you_mean
from mezzotint.plain_data import as_dict, number
from mezzotint.reading import Damaged, changed
from mezzotint.runs import RunDir
from mezzotint.runs.directory import DAMAGED
from mezzotint.runs.folders import find_runs, read_configs
from mezzotint.runs.formats import Node

JSON, ROOT = "--json", "paths.runs"
TAIL = 1 << 16  # bytes at the end of the metrics that are read for where a run is


@dataclass(frozen=True)
class RunRow:
    """A run as a row of the list."""

    directory: Path
    root: Path

    @property
    def run(self) -> RunDir:
        return RunDir(self.directory)

    @property
    def name(self) -> str:
        return str(self.directory.relative_to(self.root))

    @cached_property
    def status(self) -> Node:
        return self.run.status()

    @cached_property
    def damage(self) -> str | None:
        """The reason why its config or its status cannot be read; None if they can."""
        return next(iter(read_configs([self.directory])[1].values()), self.run.status_error())

    @cached_property
    def state(self) -> str:
        return DAMAGED if self.damage else self.run.state

    @cached_property
    def started(self) -> float:
        """The time of the last start, in seconds since 1970."""
        return float(self.status.get("started", changed(self.run.config_file)))

    @cached_property
    def changed(self) -> float:
        """The time of the last change of its files, in seconds since 1970."""
        return max(map(changed, (self.run.status_file, self.run.metrics_file, self.run.config_file)))

    @cached_property
    def lines(self) -> list[dict[str, Any]]:
        """The last complete lines of its metrics."""
        try:
            return self.run.metrics(tail=TAIL)
        except Damaged:
            return []

    @property
    def images(self) -> int:
        """Images seen: what the log says while it runs, for status.json learns of them at the end."""
        logged = self.lines[-1].get("images", 0) if self.state == "running" and self.lines else 0
        return max(self.status.get("images", 0), logged)

    @cached_property
    def best(self) -> tuple[str, float] | None:
        """Of the evaluations with most images, the first value's name, and the best under that name; without
        evaluations the best that was found while it trained, then the validation loss.
        """
        return best_evaluation(self.directory) or best_checkpoint(self.directory) or best_validation(self.lines)

    def as_dict(self) -> dict[str, Any]:
        """Return the row as JSON data; times are in seconds since 1970."""
        best = {"name": self.best[0], "value": self.best[1]} if self.best else None
        said = {key: self.status.get(key) for key in ("budget", "error", "host", "pid", "seconds")}
        result = self.status.get("objective")
        said["objective"] = number(result)  # JSON has no NaN
        said["error"] = self.damage or said["error"]
        times = {"started": self.started, "changed": self.changed}
        return {"run": str(self.directory), "state": self.state, "images": self.images, **said, **times, "best": best}

    def cells(self) -> list[str]:
        budget = self.status.get("budget", 0)
        return [
            self.name,
            self.state,
            f"{self.images:,} of {budget:,}",
            f"{min(1.0, self.images / budget):.0%}" if budget else "",
            age(time.time() - self.changed),
            f"{self.best[0]} {self.best[1]:.4g}" if self.best else "",
        ]


def main(words: Sequence[str]) -> None:
    """Print the list, the newest last; runs that failed say why below it."""
    wanted, root, as_json = read(words)
    found = [RunRow(run.path, root) for run in find_runs(root)]
    chosen = [run for run in found if all(word in run.name or word == run.state for word in wanted)]
    chosen.sort(key=lambda run: run.started)
    if as_json:
        for run in chosen:
            print(json.dumps(run.as_dict()))
        return
    if not chosen:
        print(f"no runs in {display_path(root)}" + (f" but {len(found)} others" if found else ""))
        return
    table([run.cells() for run in chosen], ["run", "state", "images", "", "age", "best"])
    for run in chosen:
        if run.damage:
            print(one_line(f"{run.name} is damaged: {run.damage}"))
        elif run.state == "failed" and run.status.get("error"):
            print(one_line(f"{run.name} failed: {run.status['error']}"))


def read(words: Sequence[str]) -> tuple[list[str], Path, bool]:
    """Return the words that select runs, the folder of runs, and whether JSON is requested."""
    given = {key: value for key, _, value in (word.partition("=") for word in words if "=" in word)}
    flags = [word for word in words if word.startswith("-")]
    for word in (*given, *flags):
        if word not in (ROOT, JSON):
            raise ConfigError(f"{word}: no such argument{did_you_mean(word, (ROOT, JSON))} (WORD, {ROOT}=DIR, {JSON})")
    root = Path(given[ROOT]).expanduser().absolute() if ROOT in given else run_folders.folder()
    return [word for word in words if word not in flags and "=" not in word], root, bool(flags)


def best_evaluation(directory: Path) -> tuple[str, float] | None:
    """The best value of its evaluations: of those with most images, by their first metric."""
    found = [each for each in RunDir(directory).evaluations().values() if each["values"]]
    if not found:
        return None
    first = next(iter(max(found, key=lambda each: each["protocol"]["n"])["values"]))
    values = [
        (each["values"][first], each["protocol"]) for each in found if number(each["values"].get(first)) is not None
    ]
    if not values:
        return None
    of = [metric for _, made in values for metric in made.get("metrics", {}).values()]
    higher = any(metric.get("higher_is_better") for metric in of if first in metric.get("values", ()))
    choose: Callable[..., float] = max if higher else min
    return first, choose(value for value, _ in values)


def best_checkpoint(directory: Path) -> tuple[str, float] | None:
    """The score of the best checkpoint."""
    score = RunDir(directory).best_score()
    return (score.name, score.value) if score and number(score.value) is not None else None


def best_validation(lines: Sequence[dict[str, Any]]) -> tuple[str, float] | None:
    losses = [line["validation"].get("loss") for line in lines if as_dict(line.get("validation"))]
    losses = [loss for loss in losses if number(loss) is not None]
    return ("validation loss", min(losses)) if losses else None


def age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
