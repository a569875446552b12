"""Evaluation files: subject, protocol, and which of them are comparable."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

from mezzotint.app.config.job import differences
from mezzotint.app.config.values import at, short
from mezzotint.app.help import config_dir
from mezzotint.app.results.reference_opening import lossless
from mezzotint.app.terminal import display_path
from mezzotint.errors import ConfigError
from mezzotint.metrics import Evaluation, over_seeds
from mezzotint.plain_data import as_dict
from mezzotint.reading import Damaged
from mezzotint.runs import RunDir, formats

ALIKE = ("labels", "precision", "task")  # of the protocol, beside n, reference, format, extractors and metrics
EXTRACTOR = ("sha256", "resize", "features")
GROUPS = ("method", "sampler", "grid", "guidance")
REPORTED = ("values", "higher_is_better", "errors", "compared", "of_reference")  # of a metric, beside its settings


@dataclass(frozen=True)
class Result:
    """One evaluation, or several seeds of it as one, and the file that it was read from."""

    path: Path
    evaluation: Evaluation

    @property
    def made(self) -> Mapping[str, Any]:
        return self.evaluation.protocol

    @cached_property
    def protocol(self) -> dict[str, Any]:
        """The entries that must be equal in two evaluations that are ranked together."""
        made = self.made
        found = {"n": made["n"]} | {f"reference.{key}": made["reference"].get(key) for key in ("sha256", "count")}
        found |= {key: made[key] for key in ALIKE if key in made}
        if stored := made.get("format") or made.get("judged", {}).get("format"):
            found["format"] = "lossless" if lossless(stored) else stored
        for extractor in made.get("extractors", ()):
            found |= {f"extractor={extractor['name']}: {key}": extractor[key] for key in EXTRACTOR if key in extractor}
        for name, settings in made.get("metrics", {}).items():
            found |= {f"metrics.{name}.{key}": value for key, value in settings.items() if key not in REPORTED}
        return found

    @cached_property
    def subject(self) -> dict[str, str]:
        """The evaluated samples: the columns by which evaluations are distinguished."""
        made = self.made
        if "run" not in made:
            judged = made.get("judged", {})
            return {"images": str(judged.get("folder", judged.get("file", self.path.stem)))}
        found = {"run": made["run"], "step": str(made["step"]), "weights": str(made["weights"])}
        found |= {group: choice(group, made[group]) for group in GROUPS if made.get(group)}
        return found | {"steps": str((made.get("grid") or {}).get("steps", ""))}

    @property
    def origin(self) -> str:
        """The run's directory, or the file if it is not in a run; runs in different places may share a name."""
        run = RunDir.of_evaluation(self.path)
        return display_path(run.path if run else self.path)

    @property
    def seed(self) -> int:
        """The first seed of the samples, which a protocol lists or writes as text."""
        return int(str(self.made.get("seeds", 0)).strip("[]").partition(",")[0])

    @property
    def calls(self) -> float:
        return float(self.made.get("calls", 0.0))

    @cached_property
    def names(self) -> list[str]:
        """The names of values that depend on the images, and not on the reference alone."""
        return [name for name in self.evaluation.results if name not in self.marks]

    @cached_property
    def marks(self) -> dict[str, float]:
        """Values of the reference alone, with which others are compared."""
        metrics = self.made.get("metrics", {}).values()
        names = [name for of in metrics if of.get("of_reference") for name in of.get("values", ())]
        return {name: self.evaluation.values[name] for name in names if name in self.evaluation.values}

    def higher_is_better(self, name: str) -> bool:
        metrics = self.made.get("metrics", {}).values()
        return any(of.get("higher_is_better") for of in metrics if name in of.get("values", ()))


@cache
def known(group: str) -> dict[str, dict[str, Any]]:
    """Return the nodes of a group by their choices."""
    files = sorted((config_dir() / group).glob("*.yaml"))
    nodes = {file.stem: yaml.safe_load(file.read_text()) for file in files}
    return {name: node for name, node in nodes.items() if as_dict(node)}


def choice(group: str, node: Mapping[str, Any]) -> str:
    """Describe a node as its choice and the keys that differ from it, without the steps of a grid."""
    own = {key: value for key, value in node.items() if key != "steps"}
    close = [
        (len(differ), name, differ)
        for name, other in known(group).items()
        if other.get("_target_") == own.get("_target_")
        for differ in [[key for key in differences(other, own) if key != "steps"]]
    ]
    if not close:
        named = {key: value for key, value in own.items() if key != "_target_"}
        return " ".join([short(own), *(f"{key}={short(value)}" for key, value in named.items())])
    _, name, differ = min(close)
    return " ".join([name, *(f"{key}={short(at(own, key))}" for key in differ)])


# ------------------------------------------------------------------------------------------------------------- reading


def read(path: Path) -> Result:
    """One evaluation file.

    Raises:
        ConfigError: it is missing, or no evaluation.
    """
    try:
        if run := RunDir.of_evaluation(path):
            found = formats.comparable(path, run.path)
        else:  # named by the user, wherever it leads
            real = path.resolve()
            found = formats.comparable(real, real.parent)
    except FileNotFoundError:
        raise ConfigError(f"there is no {display_path(path)}: give a run or an evaluation's JSON file") from None
    except (Damaged, OSError, RuntimeError) as error:
        raise ConfigError(
            f"{display_path(path)} is not an evaluation: `mezzotint evaluate` writes them, to runs/<name>/evaluation "
            f"({error})"
        ) from error
    return Result(path, Evaluation.of_dict(found))


def read_folder(folder: Path) -> list[Result]:
    """Return all evaluations of single seeds in a folder, oldest first."""
    found = []
    for file in sorted(folder.glob("*.json")):
        try:
            found.append(read(file))
        except ConfigError as error:
            print(f"{error}; left out")
    return sorted((one for one in found if "each" not in one.made), key=lambda one: str(one.made.get("date")))


def open_results(path: Path) -> list[Result]:
    """Return the evaluation in a file, or all evaluations of a run or folder.

    Raises:
        ConfigError: there is none.
    """
    if not path.is_dir():
        return [read(path)]
    run = RunDir(path)
    results = read_folder(run.evaluation if run.evaluation.is_dir() or run.exists() else path)
    if not results:
        raise ConfigError(f"{display_path(path)} has no evaluations yet: mezzotint evaluate run={display_path(path)}")
    return results


# ----------------------------------------------------------------------------------------------------------- comparing


def conflicts(one: Result, other: Result) -> list[str]:
    """Return the keys in which two protocols differ; such values must not be ranked together."""
    return [key for key, value in one.protocol.items() if key in other.protocol and other.protocol[key] != value]


def alike(results: Iterable[Result]) -> list[list[Result]]:
    """Return groups of results that share a protocol."""
    groups: list[list[Result]] = []
    for result in results:
        fitting = [group for group in groups if not any(conflicts(result, member) for member in group)]
        if fitting:
            fitting[0].append(result)
        else:
            groups.append([result])
    return groups


def gathered(results: Sequence[Result]) -> list[Result]:
    """Aggregate the seeds of each subject to mean and error; the results share a protocol."""
    subjects: dict[str, list[Result]] = {}
    for result in results:
        subjects.setdefault(json.dumps([result.subject, result.origin]), []).append(result)
    return [one_of(members) for members in subjects.values()]


def one_of(members: Sequence[Result]) -> Result:
    ready = [member for member in members if "each" in member.made]
    if ready:
        return ready[-1]
    seeds: dict[int, Evaluation] = {}
    for member in members:
        before = seeds.get(member.seed)
        seeds[member.seed] = joined(before, member.evaluation) if before else member.evaluation
    each = list(seeds.values())
    common = [name for name in each[0].values if all(name in one.values for one in each)]
    if len(each) == 1 or not common:
        return Result(members[-1].path, each[0])
    together = over_seeds([replace(one, values={name: one.values[name] for name in common}) for one in each])
    return Result(members[-1].path, together)


def joined(one: Evaluation, other: Evaluation) -> Evaluation:
    """Merge two evaluations of the same images by different metrics."""
    protocol = dict(other.protocol)
    protocol["metrics"] = {**one.protocol.get("metrics", {}), **protocol.get("metrics", {})}
    protocol["extractors"] = [
        *protocol.get("extractors", []),
        *(each for each in one.protocol.get("extractors", []) if each not in protocol.get("extractors", [])),
    ]
    return Evaluation(one.values | other.values, protocol, other.notes, one.errors | other.errors)


def columns(results: Sequence[Result]) -> list[str]:
    """Return the keys in which the subjects of these results differ."""
    keys = dict.fromkeys(key for result in results for key in result.subject)
    return [key for key in keys if len({result.subject.get(key) for result in results}) > 1]
