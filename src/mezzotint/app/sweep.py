"""`mezzotint sweep DIR`: the runs of a sweep with what tells them apart, their states and results; seeds together."""

import json
import math
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mezzotint.app.config.job import NOISE, Config, differences, relocatable
from mezzotint.app.records import runs
from mezzotint.app.terminal import shown, table
from mezzotint.errors import ConfigError

UNITS = {"target", "weight", "loss", "objective", "schedule", "times"}  # what a loss is measured in


def main(words: Sequence[str]) -> None:
    if len(words) != 1 or words[0].startswith("-"):
        raise ConfigError("which sweep? Give the folder of its runs: mezzotint sweep runs/digits_ddpm")
    folder = Path(words[0])
    found = [place for place in runs.folders(folder) if os.path.lexists(place / "config.yaml")]
    if not found:
        raise ConfigError(f"{folder} holds no runs of a sweep")
    known, damaged = runs.read_configs(found)
    directories, configs = list(known), [compared(config) for config in known.values()]
    keys = differing(configs)
    results = [runs.read_status(directory).get("objective") for directory in directories]
    states = [runs.state(directory) for directory in directories]
    rows = [
        [directory.name, *(short(at(config, key)) for key in keys), state, number(result)]
        for directory, config, state, result in zip(directories, configs, states, results, strict=True)
    ]
    rows = [row for _, row in sorted(zip(map(rank, results), rows, strict=True))]
    rows += [[directory.name, *("" for _ in keys), runs.DAMAGED, ""] for directory in damaged]
    states += [runs.DAMAGED] * len(damaged)
    table(rows, ["run", *keys, "state", "objective"])
    if "seed" in keys:
        others = [key for key in keys if key != "seed"]
        table(seeds(configs, results, others), [*others, "seeds", "mean", "deviation"], "seeds together")
    if units := unlike(configs, results, [any((run / "evaluation").glob("*.json")) for run in directories]):
        print(f"objectives are losses, in units of their own for each {units}: judge the runs to rank them")
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(sorted(states)))
    print(f"{shown(folder)}: {len(states)} runs, {counts}")
    for why in (*damaged.values(), *map(runs.complaint, directories)):
        if why:
            print(why)


def compared(config: Config) -> Config:
    return {key: value for key, value in relocatable(config).items() if key not in NOISE}


def differing(configs: Sequence[Config]) -> list[str]:
    """The keys that tell some of these configs apart."""
    return list(dict.fromkeys(key for config in configs for key in differences(configs[0], config)))


def unlike(configs: Sequence[Config], results: Sequence[float | None], judged: Sequence[bool]) -> str:
    """The groups in which runs differ whose objective is a loss: numbers of different units. Empty where none do."""
    losses = [config for config, result, done in zip(configs, results, judged, strict=True) if result and not done]
    groups = {key.partition(".")[0] for key in differing(losses)} & UNITS if losses else set()
    return ", ".join(sorted(groups))


def rank(result: float | None) -> float:
    return float("inf") if result is None or math.isnan(result) else result


def seeds(configs: Sequence[Config], results: Sequence[float | None], keys: Sequence[str]) -> list[list[str]]:
    """For each config but for its seed: how many are done, their mean and the deviation of one (n - 1)."""
    alike: dict[str, tuple[Config, list[float]]] = {}
    for config, result in zip(configs, results, strict=True):
        name = json.dumps({key: value for key, value in config.items() if key != "seed"}, sort_keys=True)
        done = alike.setdefault(name, (config, []))[1]
        if result is not None:
            done.append(result)
    groups = sorted(alike.values(), key=lambda pair: statistics.fmean(pair[1]) if pair[1] else float("inf"))
    return [
        [
            *(short(at(config, key)) for key in keys),
            str(len(done)),
            number(statistics.fmean(done) if done else None),
            number(statistics.stdev(done) if len(done) > 1 else None),
        ]
        for config, done in groups
    ]


def at(config: Config, key: str) -> Any:
    """The value at a dotted key; None where a part of it is missing."""
    value: Any = config
    for word in key.split("."):
        value = value.get(word) if isinstance(value, dict) else None
    return value


def short(value: Any) -> str:
    """A value in a table; of a node, the name of its class."""
    if isinstance(value, dict):
        return str(value.get("_target_", ", ".join(value))).rpartition(".")[2]
    return "" if value is None else str(value)


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
