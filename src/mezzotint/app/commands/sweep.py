"""`mezzotint sweep DIR`: the runs of a sweep with their differences, states and results; seeds are aggregated."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mezzotint.app.config.derived import SHRINKING
from mezzotint.app.config.job import NOISE, Config, differences, relocatable
from mezzotint.app.config.values import at, short
from mezzotint.app.launch.sweep_jobs import FAILED, SweepJob
from mezzotint.app.terminal import display_path, table
from mezzotint.errors import ConfigError
from mezzotint.runs import RunDir
from mezzotint.runs.directory import DAMAGED
from mezzotint.runs.folders import read_configs, runs_in
from mezzotint.runs.formats import TRAINING_LOSS, VALIDATION_LOSS

UNITS = {"target", "loss_weight", "loss", "objective", "schedule", "time_distribution"}  # what a loss is measured in


def main(words: Sequence[str]) -> None:
    if len(words) != 1 or words[0].startswith("-"):
        raise ConfigError("which sweep? Give the folder of its runs: mezzotint sweep runs/digits_ddpm")
    folder = Path(words[0])
    found = [run.path for run in runs_in(folder)]
    if not found:
        raise ConfigError(f"{folder} holds no runs of a sweep")
    known, damaged = read_configs(found)
    configs = [compared(config) for config in known.values()]
    keys = [key for key in differing(configs) if not follows(configs, key)]
    lines = [Line.of(run, [short(at(config, key)) for key in keys]) for run, config in zip(known, configs, strict=True)]
    show(keys, [*lines, *(Line(run, ["" for _ in keys], DAMAGED) for run in damaged)], known)
    states = [*(line.state for line in lines), *(DAMAGED for _ in damaged)]
    print(f"{display_path(folder)}: {counted('run', states)}")
    for why in (*damaged.values(), *(RunDir(run).status_error() for run in known)):
        if why:
            print(why)


def conclude(keys: Sequence[str], jobs: Sequence[SweepJob], trained: bool) -> None:
    """The end of a sweep: its jobs as `mezzotint sweep` shows runs, by the words in which they differ.

    Args:
        keys: those words.
        trained: each job has a run of its own.
    """
    lines = [Line.of_job(job, [job.words.get(key, "") for key in keys], trained) for job in jobs]
    places = dict.fromkeys(line.run for line in lines if line.run)
    show(keys, lines, read_configs(places)[0] if trained else {})
    folders = [display_path(place) for place in dict.fromkeys(run.parent if trained else run for run in places)]
    where = f"{', '.join(folders)}: " if folders else ""
    again = f"; to see them again: {' && '.join(f'mezzotint sweep {folder}' for folder in folders)}"
    print(f"{where}{counted('job', [line.state for line in lines])}{again if trained and folders else ''}")


@dataclass(frozen=True)
class Line:
    """A run, or a job that came to none, in the table.

    Args:
        apart: values of the keys in which the runs differ, one for each column.
    """

    run: Path | None
    apart: list[str]
    state: str
    objective: float | None = None
    measure: str = ""
    higher: bool = False

    @classmethod
    def of(cls, run: Path, apart: list[str]) -> "Line":
        status = RunDir(run).status()
        found = RunDir(run).objective(status) or {"name": ""}
        higher = bool(found.get("higher_is_better"))
        return cls(run, apart, RunDir(run).state, status.get("objective"), found["name"], higher)

    @property
    def rank(self) -> float:
        """Lower is better; without an objective it comes last."""
        if self.objective is None or math.isnan(self.objective):
            return math.inf
        return -self.objective if self.higher else self.objective

    @classmethod
    def of_job(cls, job: SweepJob, apart: list[str], trained: bool) -> "Line":
        """Of a job that trained, as its run is now, but for what it says of itself alone: that it was refused there."""
        run = Path(job.run) if job.run and Path(job.run).is_dir() else None
        return cls.of(run, apart) if trained and run and job.state != FAILED else cls(run, apart, job.state)


def show(keys: Sequence[str], lines: Sequence[Line], known: Mapping[Path, Config]) -> None:
    """The table, best first, each measure in a column of its own; seeds together; what must not be ranked.

    Args:
        known: the configs of the runs in it.
    """
    measures = dict.fromkeys(line.measure for line in lines if line.measure)  # in the order of the runs
    order = list(measures)
    apart = order if len(order) > 1 else [""]

    def place(line: Line) -> tuple[int, float]:
        return order.index(line.measure) if line.measure else len(order), line.rank

    rows = [
        [
            line.run.name if line.run else "",
            *line.apart,
            line.state,
            *(number(line.objective) if name in ("", line.measure) else "" for name in apart),
        ]
        for line in sorted(lines, key=place)
    ]
    table(rows, ["run", *keys, "state", *(name or "objective" for name in apart)])
    configs = [compared(config) for config in known.values()]
    found = [Line.of(run, []) for run in known]
    differ = differing(configs)
    if "seed" in differ:
        others = [key for key in differ if key != "seed"]
        many = [key for key in ("of",) if len(order) > 1]
        table(
            seeds(configs, found, others, bool(many)), [*others, *many, "seeds", "mean", "deviation"], "seeds together"
        )
    higher = {line.measure for line in lines if line.higher}
    said = [f"{name}, {'higher' if name in higher else 'lower'} is better" for name in order]
    if len(said) == 1:
        print(f"objective: {said[0]}")
    elif said:
        print(f"the objectives are different metrics, each ranked separately: {'; '.join(said)}")
    if units := unlike(configs, found):
        print(f"the objectives are losses in different units for each {units}: evaluate the runs to rank them")


def counted(what: str, states: Sequence[str]) -> str:
    """4 runs, 1 failed, 3 finished"""
    each = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    return f"{len(states)} {what}{'' if len(states) == 1 else 's'}, {each}"


def compared(config: Config) -> Config:
    return {key: value for key, value in relocatable(config).items() if key not in NOISE}


def differing(configs: Sequence[Config]) -> list[str]:
    """Return the keys in which these configs differ."""
    return list(dict.fromkeys(key for config in configs for key in differences(configs[0], config)))


def follows(configs: Sequence[Config], key: str) -> bool:
    """Return True for a key that was derived from budget and batch size and adds nothing to them."""
    if key not in SHRINKING:
        return False
    found = {(at(config, "budget"), at(config, "batch_size"), at(config, key)) for config in configs}
    return len(found) == len({(budget, batch) for budget, batch, _ in found}) > 1


def unlike(configs: Sequence[Config], lines: Sequence[Line]) -> str:
    """The groups in which runs differ whose objective is a loss: numbers of different units. Empty where none do."""
    names = (VALIDATION_LOSS, TRAINING_LOSS)
    losses = [config for config, line in zip(configs, lines, strict=True) if line.measure in names]
    groups = {key.partition(".")[0] for key in differing(losses)} & UNITS if losses else set()
    return ", ".join(sorted(groups))


def seeds(configs: Sequence[Config], lines: Sequence[Line], keys: Sequence[str], measures: bool) -> list[list[str]]:
    """For each config but for its seed: how many are done, their mean and the deviation of one (n - 1); best first.

    Args:
        measures: name what each mean is of.
    """
    alike: dict[tuple[str, str], tuple[Config, list[Line]]] = {}
    for config, line in zip(configs, lines, strict=True):
        name = json.dumps({key: value for key, value in config.items() if key != "seed"}, sort_keys=True)
        alike.setdefault((line.measure, name), (config, []))[1].append(line)

    def rank(group: tuple[Config, Sequence[Line]]) -> tuple[str, float]:
        return group[1][0].measure, statistics.fmean(line.rank for line in group[1])

    rows = []
    for config, group in sorted(alike.values(), key=rank):
        done = [line.objective for line in group if line.objective is not None]
        rows.append(
            [
                *(short(at(config, key)) for key in keys),
                *([group[0].measure] if measures else []),
                str(len(done)),
                number(statistics.fmean(done) if done else None),
                number(statistics.stdev(done) if len(done) > 1 else None),
            ]
        )
    return rows


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
